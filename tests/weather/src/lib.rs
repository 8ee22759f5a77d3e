//! Simulated doors: a seeded clock, disk, rings and jobs with faults.
