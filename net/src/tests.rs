//! The rings and the mesh under real threads.

mod mesh;
mod ring;
