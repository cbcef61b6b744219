"""Control loops that keep the cluster and its jobs well; `hawk` finds dead hosts."""
