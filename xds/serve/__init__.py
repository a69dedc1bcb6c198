"""The serving edge: sessions (pure), their order and lanes, and the gRPC transport."""
