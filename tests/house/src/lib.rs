//! The house test: floors, signs, sizes, features.
