"""Second stage: Sigma rules become detection plans. Knows no cluster and no HTTP."""
