//! Values, schemas and navigators.
