//! A durable log of framed records with snapshots: bytes in, bytes out.
