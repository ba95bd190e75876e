# Python 2.7: starts the suite's `wstest` from the directory named first.
#
# Two repairs to the suite, which listens on every interface at a port fixed in
# advance: the fuzzing server binds 127.0.0.1, and port 0 means any free port,
# told on a line of its own as `fuzzing server on PORT`.
from __future__ import print_function

import site
import sys

packages = sys.argv.pop(1)
sys.path.insert(0, packages)
site.addsitedir(packages)  # Reads the .pth file that zope.interface lives by.

from autobahntestsuite import fuzzing, wstest


def listen_on_loopback(factory, context=None):
    from twisted.internet import reactor

    if factory.isSecure:
        listener = reactor.listenSSL(factory.port, factory, context, interface="127.0.0.1")
    else:
        listener = reactor.listenTCP(factory.port, factory, interface="127.0.0.1")
    # The suite compares the Host header with this.
    factory.externalPort = listener.getHost().port
    print("fuzzing server on %d" % factory.externalPort)
    sys.stdout.flush()
    return listener


fuzzing.listenWS = listen_on_loopback
wstest.run()
