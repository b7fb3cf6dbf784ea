//! What each operation does to a repository.
