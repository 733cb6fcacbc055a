//! execline scripts: words, blocks and substitution (<https://skarnet.org/software/execline/>).
//!
//! A script is one command line. Its blocks become arguments whose words have a blank in front for
//! each level they are nested in, ended by an empty word; what runs are programs that take their
//! part of the line and execute the rest.

pub mod block;
pub mod envfile;
pub mod lexer;
pub mod substitute;
