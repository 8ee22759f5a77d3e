//! Oracles: plain collections that know nothing of the engine.
