//! The files of the repository, as git sees them: tracked ones and new ones that are not ignored.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// The checked-out tree.
pub struct Repository {
    root: PathBuf,
}

/// One text file of the tree.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// From the repository's root, with `/`.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

impl SourceFile {
    /// A file that exists only in a test.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

impl Repository {
    /// The repository in which Cargo runs this program; run without Cargo, the one that it was built from. Checkouts
    /// that share a target folder may share the program.
    pub fn open() -> Result<Self> {
        let package = std::env::var_os("CARGO_MANIFEST_DIR");
        let package = package.as_deref().map_or(Path::new(env!("CARGO_MANIFEST_DIR")), Path::new);
        let root = package.parent().expect("xtask is a folder of the repository");
        ensure!(root.join("Cargo.lock").is_file(), "{} is not the repository any more", root.display());
        Ok(Self { root: root.to_owned() })
    }

    /// The folder that holds the workspace's `Cargo.toml`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The text of a file that has to exist.
    pub fn read(&self, path: &str) -> Result<String> {
        fs::read_to_string(self.root.join(path)).with_context(|| format!("{path} cannot be read"))
    }

    /// Every text file, sorted by path. Links and files that are not UTF-8 are left out.
    pub fn files(&self) -> Result<Vec<SourceFile>> {
        let mut files = Vec::new();
        for path in self.paths()? {
            let whole = self.root.join(&path);
            // A file that git knows and that was just deleted is no error; a link is read where it points.
            if !fs::symlink_metadata(&whole).is_ok_and(|metadata| metadata.is_file()) {
                continue;
            }
            if let Ok(text) = String::from_utf8(fs::read(&whole)?) {
                files.push(SourceFile { path, text });
            }
        }
        Ok(files)
    }

    fn paths(&self) -> Result<Vec<String>> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output()
            .context("git cannot be started")?;
        ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
        let mut paths: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(str::to_owned)
            .collect();
        paths.sort();
        paths.dedup();
        Ok(paths)
    }
}
