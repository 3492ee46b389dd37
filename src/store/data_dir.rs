//! The identity file of a business directory: format and partition count, fixed when the business is created.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::layout::FORMAT_VERSION;

const IDENTITY_FILE: &str = "IDENTITY";

/// What never changes after a business was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessIdentity {
    /// Version of the layout on disk.
    pub format: u32,
    /// Name of the business, so that a directory cannot be opened as another one.
    pub name: String,
    /// Number of partitions.
    pub partitions: u16,
    /// 40 hexadecimal digits, drawn once: names this history of data.
    pub replication_id: String,
}

impl BusinessIdentity {
    /// Directory of one partition's database.
    pub fn partition_dir(business_dir: &Path, partition: u16) -> PathBuf {
        business_dir.join(format!("p{partition:04}"))
    }

    fn render(&self) -> String {
        format!(
            "format {}\nbusiness {}\npartitions {}\nreplication_id {}\n",
            self.format, self.name, self.partitions, self.replication_id
        )
    }

    fn parse(text: &str) -> Option<BusinessIdentity> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' ')))
        };
        Some(BusinessIdentity {
            format: field("format")?.parse().ok()?,
            name: field("business")?.to_string(),
            partitions: field("partitions")?.parse().ok().filter(|count| *count > 0)?,
            replication_id: field("replication_id")?.to_string(),
        })
    }
}

/// Reads the identity of the business directory, creating both with `wanted` when there is none.
///
/// # Errors
/// A sentence for the operator: another format, another business, another partition count (when `explicit`), a part of
/// the data is gone, or what the system said.
pub fn open_business_dir(
    dir: &Path,
    wanted: &BusinessIdentity,
    explicit: bool,
) -> Result<BusinessIdentity, String> {
    let path = dir.join(IDENTITY_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            refuse_orphans(dir, &path)?;
            create(dir, &path, wanted).map_err(|e| format!("{}: {e}", path.display()))?;
            return Ok(wanted.clone());
        }
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    let found = BusinessIdentity::parse(&text)
        .ok_or_else(|| format!("{}: not an identity file of ticklane", path.display()))?;
    if found.format != wanted.format {
        return Err(format!(
            "{}: the data has format {}, this version of ticklane reads format {FORMAT_VERSION}: start the version \
             that wrote the data, export it there, and import it into an empty directory here",
            path.display(),
            found.format
        ));
    }
    if found.name != wanted.name {
        return Err(format!(
            "{}: the directory holds the business {:?}, but the configuration gives it to {:?}",
            path.display(),
            found.name,
            wanted.name
        ));
    }
    if explicit && found.partitions != wanted.partitions {
        return Err(format!(
            "{}: business {:?} was created with {} partitions, the configuration says {}; the count is fixed at \
             creation: set partitions = {} (or 0) for it",
            path.display(),
            found.name,
            found.partitions,
            wanted.partitions,
            found.partitions
        ));
    }
    refuse_gaps(dir, &found)?;
    Ok(found)
}

/// Partitions whose number nobody knows: an empty business must not take their place.
fn refuse_orphans(dir: &Path, identity: &Path) -> Result<(), String> {
    let first = BusinessIdentity::partition_dir(dir, 0);
    let is_empty = fs::read_dir(&first).map_or(true, |mut entries| entries.next().is_none());
    if is_empty {
        return Ok(());
    }
    Err(format!(
        "{}: missing, but {} holds data: restore it from a backup of this directory",
        identity.display(),
        first.display()
    ))
}

/// A directory is made for every partition before the identity is: one that is not there has been there.
fn refuse_gaps(dir: &Path, identity: &BusinessIdentity) -> Result<(), String> {
    let partitions = (0..identity.partitions).map(|index| BusinessIdentity::partition_dir(dir, index));
    for partition in partitions {
        match fs::metadata(&partition) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(format!("{}: not a directory", partition.display())),
            Err(e) => {
                return Err(format!(
                    "{}: {e}: one of the {} partitions of business {:?} is gone; restore it from a backup, or make an \
                     empty directory there if its part of the data may be lost",
                    partition.display(),
                    identity.partitions,
                    identity.name
                ));
            }
        }
    }
    Ok(())
}

/// Written under another name, forced to the disk, then renamed: never seen half written.
fn create(dir: &Path, path: &Path, identity: &BusinessIdentity) -> io::Result<()> {
    for index in 0..identity.partitions {
        fs::create_dir_all(BusinessIdentity::partition_dir(dir, index))?;
    }
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(identity.render().as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(partitions: u16) -> BusinessIdentity {
        BusinessIdentity {
            format: FORMAT_VERSION,
            name: "stock_quotes".into(),
            partitions,
            replication_id: "a".repeat(40),
        }
    }

    #[test]
    fn the_partition_count_is_fixed_at_creation() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            open_business_dir(dir.path(), &identity(4), false).unwrap(),
            identity(4)
        );
        assert_eq!(
            open_business_dir(dir.path(), &identity(2), false)
                .unwrap()
                .partitions,
            4
        );
        let refused = open_business_dir(dir.path(), &identity(2), true).unwrap_err();
        assert!(
            refused.contains("created with 4 partitions, the configuration says 2"),
            "{refused}"
        );
    }

    #[test]
    fn data_that_is_gone_is_missed() {
        let dir = tempfile::tempdir().unwrap();
        open_business_dir(dir.path(), &identity(2), false).unwrap();
        let (first, second) = (dir.path().join("p0000"), dir.path().join("p0001"));
        fs::remove_dir(&second).unwrap();
        let refused = open_business_dir(dir.path(), &identity(2), false).unwrap_err();
        assert!(
            refused.contains("p0001: ") && refused.contains("one of the 2 partitions"),
            "{refused}"
        );
        fs::create_dir(&second).unwrap();
        open_business_dir(dir.path(), &identity(2), false).unwrap();
        fs::remove_file(dir.path().join(IDENTITY_FILE)).unwrap();
        // A first start that was cut short: nothing is in there yet.
        open_business_dir(dir.path(), &identity(2), false).unwrap();
        fs::remove_file(dir.path().join(IDENTITY_FILE)).unwrap();
        fs::write(first.join("CURRENT"), "").unwrap();
        let refused = open_business_dir(dir.path(), &identity(2), false).unwrap_err();
        assert!(refused.contains("IDENTITY: missing, but"), "{refused}");
    }

    #[test]
    fn other_businesses_and_formats_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        open_business_dir(dir.path(), &identity(1), false).unwrap();
        let other = BusinessIdentity {
            name: "iot_data".into(),
            ..identity(1)
        };
        assert!(
            open_business_dir(dir.path(), &other, false)
                .unwrap_err()
                .contains("holds the business")
        );
        fs::write(
            dir.path().join(IDENTITY_FILE),
            "format 99\nbusiness stock_quotes\npartitions 1\nreplication_id a\n",
        )
        .unwrap();
        assert!(
            open_business_dir(dir.path(), &identity(1), false)
                .unwrap_err()
                .contains("format 99")
        );
        fs::write(
            dir.path().join(IDENTITY_FILE),
            "format 1\nbusiness stock_quotes\npartitions 1\nreplication_id a\n",
        )
        .unwrap();
        let refused = open_business_dir(dir.path(), &identity(1), false).unwrap_err();
        assert!(
            refused.contains("format 1,") && refused.contains("export it there"),
            "{refused}"
        );
    }
}
