"""The service for programs and pages: HTTP and WebSocket over one shared Recognizer."""
