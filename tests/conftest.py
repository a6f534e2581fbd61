"""What holds for every test."""

import signal

# A shell starts its background jobs with these ignored, children inherit that, and our command line leaves what is
# ignored ignored. The tests send them, so they must count.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
