//! Seeded simulation of SlimBase against a sorted map.
//!
//! [`world`] runs operations, barriers, checkpoints, crashes, restores and rescales on one to four engines that share the key
//! groups, with allocations and storage operations that fail, unsynced bytes that are lost or torn, and damaged or missing
//! files. After each the engines must hold exactly what the map holds, or refuse with the error that fits. [`fuzz`] mutates
//! valid files. The same seed gives the same run; every failure names it.

pub mod fuzz;
pub mod random;
pub mod world;
