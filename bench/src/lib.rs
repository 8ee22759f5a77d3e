//! Measured claims, side by side with peers.
