//! Nothing: the examples of this folder are the package.
