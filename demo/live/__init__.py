"""The live panel: camera in the browser, pictures to the server, expressions back."""
