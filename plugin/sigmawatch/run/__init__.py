"""Our own executor: evaluates detection plans on a cluster and writes alerts, once each."""
