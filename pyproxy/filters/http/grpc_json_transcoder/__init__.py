"""JSON in, gRPC out, and back (envoy.filters.http.grpc_json_transcoder)."""
