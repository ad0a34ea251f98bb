"""HTTP/1.1 towards other servers (RFC 9112): lean, since every call passes through it twice."""
