//! The simulator: the engine under simulated doors, with oracles.
