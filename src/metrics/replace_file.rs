//! Writes a file under a temporary name and renames it, so that no reader ever sees half of it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Replaces `path` by what `write` puts into a new file beside it; returns the new size in bytes.
///
/// With `keep`, the new file begins with the present content of `path`, if any. Nothing is synchronised to
/// the disk: a power cut may lose the file, a crash of the process cannot.
///
/// # Errors
/// Any error of the file system or of `write`; `path` is then as it was, and the temporary file is gone.
pub fn replace_file<F>(path: &Path, keep: bool, write: F) -> io::Result<u64>
where
    F: FnOnce(&mut File) -> io::Result<()>,
{
    let temporary = temporary_path(path);
    let result = fill(path, &temporary, keep, write).and_then(|bytes| {
        fs::rename(&temporary, path)?;
        Ok(bytes)
    });
    if result.is_err() {
        // The first error is the one to report; a leftover is overwritten by the next attempt.
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn fill<F>(path: &Path, temporary: &Path, keep: bool, write: F) -> io::Result<u64>
where
    F: FnOnce(&mut File) -> io::Result<()>,
{
    let mut file = File::create(temporary)?;
    if keep {
        match File::open(path) {
            Ok(mut present) => {
                io::copy(&mut present, &mut file)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    write(&mut file)?;
    Ok(file.metadata()?.len())
}

fn temporary_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn keeps_replaces_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("file");
        let bytes = replace_file(&path, true, |file| file.write_all(b"one")).expect("written");
        assert_eq!(bytes, 3);
        let bytes = replace_file(&path, true, |file| file.write_all(b"two")).expect("written");
        assert_eq!((bytes, fs::read(&path).expect("read")), (6, b"onetwo".to_vec()));
        replace_file(&path, false, |file| file.write_all(b"new")).expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("file");
        replace_file(&path, false, |file| file.write_all(b"old")).expect("written");
        let error = replace_file(&path, false, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk on fire"))
        });
        assert_eq!(error.expect_err("failed").to_string(), "disk on fire");
        assert_eq!(fs::read(&path).expect("read"), b"old");
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }
}
