"""A file server of one folder, in a process of its own; it prints its port.

User ada with the password s3cret may do everything, guest (guest) may read.
"""

from __future__ import annotations

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

if __name__ == "__main__":
    people = DummyAuthorizer()
    people.add_user("ada", "s3cret", sys.argv[1], perm="elradfmwMT")
    people.add_user("guest", "guest", sys.argv[1], perm="elr")
    FTPHandler.authorizer = people
    server = FTPServer(("127.0.0.1", 0), FTPHandler)
    print(server.address[1], flush=True)
    server.serve_forever()
