"""Between HTTP with JSON and gRPC: the only room on the way of requests that knows protobuf.

It stands apart because what it works with, descriptors and messages of the user's own services, is protobuf by nature.
Only the filters that are for that import it, and those only where they are configured.
"""
