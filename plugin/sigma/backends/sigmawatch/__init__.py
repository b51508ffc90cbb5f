"""What makes `sigma convert -t sigmawatch` work: pySigma finds backends by their place in this namespace."""

from sigma.backends.sigmawatch.sigmawatch import SigmawatchBackend

__all__ = ["SigmawatchBackend"]

backends = {"sigmawatch": SigmawatchBackend}
