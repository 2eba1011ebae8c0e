//! The chunk store's two daemons: chunkmaster and chunkserver.
