//! The engine, tested through its public interface alone.

mod bench;
mod depend;
mod exhaustive;
mod hot_paths;
mod interface;
mod lessons;
mod properties;
mod records;
mod restart;
mod simulation;
mod stop;
