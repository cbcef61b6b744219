"""The CDN scheduler: cell facts in, weights per region, ISP and CDN out.

collect (`window`, `service`) → evaluate (`evidence`, `capacity`) → decide (`decide`) → realize (`realize`). Only `service` and
`realize` touch the outside; the rest is pure and takes the time as an argument.
"""
