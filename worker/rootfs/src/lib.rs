//! Root file systems of containers, as directories of this host: whose the files in them are, and how files come in, go and
//! are found. Links are followed inside of the root, never out of it. Whoever has the directory (a mount of layers, a
//! container of another program) is not known here.
//!
//! Reading order: [`place`] (paths without links, archives and directories in a root) with [`accounts`] and [`owner`],
//! [`delete`], [`files`] (archives out of it); [`workspace`] (a stage being built in one), [`toolbox`] (what is mounted into all); [`error`].

pub mod accounts;
pub mod delete;
pub mod error;
pub mod files;
pub mod owner;
pub mod place;
pub mod toolbox;
pub mod workspace;
