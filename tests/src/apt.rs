// SPDX-License-Identifier: Apache-2.0
//! Debian packages for tests, without touching the system's package management.
//!
//! Owns `apt/` in the cache, and another such directory for each further release: sources of its own
//! (the system's mirror, more suites), lists and package cache; /etc/apt is only read. In: package
//! names. Out: `.deb` files in the cache, kind `deb`. Never: installs anything, or asks the mirror when
//! the cache can answer.

use std::cmp::Ordering;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cache::{self, Cache, Inputs};
use crate::step::{Step, step};

use self::sources::Mirror;

mod sources;

/// Whose packages. Releases are kept apart: a package of one would not run on the libraries of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 12, whose programs the guests have.
    Bookworm,
    /// The backports of Debian 13, for their kernels.
    TrixieBackports,
}

/// A package in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name, without architecture.
    pub name: String,
    /// Its full Debian version.
    pub version: String,
}

/// A package of Debian 12: [`Release::download`].
pub fn download(package: &str, version: Option<&str>) -> Result<PathBuf> {
    Release::Bookworm.download(package, version)
}

/// A package of Debian 12: [`Release::newest`].
pub fn newest(pattern: &str) -> Result<Package> {
    Release::Bookworm.newest(pattern)
}

/// Unpacks a package's files into a directory.
pub fn unpack(deb: &Path, into: &Path) -> Result<()> {
    let status = Command::new("dpkg-deb").arg("--extract").arg(deb).arg(into).status();
    let status = status.context("running dpkg-deb")?;
    ensure!(status.success(), "dpkg-deb failed to unpack {} ({status})", deb.display());
    Ok(())
}

/// A deb822 file with the suites that tests use, for tools that make root file systems.
pub fn sources() -> Result<PathBuf> {
    Ok(Apt::open(Release::Bookworm)?.sources())
}

/// The private configuration of a release.
struct Apt {
    release: Release,
    dir: PathBuf,
}

// === impl Release ===

impl Release {
    /// The package's file from the cache, downloaded if it is not there. Without a version, the
    /// newest that the lists know.
    pub fn download(self, package: &str, version: Option<&str>) -> Result<PathBuf> {
        let version = match version {
            Some(version) => version.to_owned(),
            None => self.newest(package)?.version,
        };
        let inputs = Inputs::new()
            .bytes("package", package)
            .bytes("version", &version)
            .bytes("architecture", std::env::consts::ARCH);
        let entry = cache::get_or_make("deb", &inputs, |dir| {
            step(&format!("downloading {package} {version}"), |step| {
                let apt = Apt::open(self)?;
                apt.refresh(step)?;
                apt.check_served(package, &version)?;
                let wanted = format!("{package}={version}");
                step.run(apt.command("apt-get").arg("download").arg(wanted).current_dir(dir))
            })
        })?;
        let files = fs::read_dir(&entry).context("listing the cache entry of a package")?;
        files
            .flatten()
            .map(|file| file.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .with_context(|| format!("{} has no .deb; remove it", entry.display()))
    }

    /// The newest package whose name matches a pattern, in which `*` stands for any characters.
    /// Lists that are there already answer, however old; they are fetched only when none match.
    pub fn newest(self, pattern: &str) -> Result<Package> {
        let apt = Apt::open(self)?;
        if let Some(found) = apt.newest(pattern)? {
            return Ok(found);
        }
        step(&format!("looking for {pattern}"), |step| apt.refresh(step))?;
        apt.newest(pattern)?.with_context(|| format!("no package matches {pattern}"))
    }

    /// Its directory in the cache.
    fn directory(self) -> &'static str {
        match self {
            Self::Bookworm => "apt",
            Self::TrixieBackports => "apt-trixie-backports",
        }
    }

    fn suites(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm bookworm-updates bookworm-backports",
            Self::TrixieBackports => "trixie-backports",
        }
    }
}

// === impl Apt ===

impl Apt {
    fn open(release: Release) -> Result<Self> {
        let apt = Self { release, dir: Cache::user()?.state(release.directory())? };
        for dir in ["sources.d", "lists/partial", "cache/archives/partial"] {
            let dir = apt.dir.join(dir);
            fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        let stanza = Mirror::of_system(Path::new("/etc/apt"))?.stanza(release.suites());
        // A rewrite would let apt take its lists for outdated.
        if fs::read_to_string(apt.sources()).ok().as_ref() != Some(&stanza) {
            apt.write_sources(&stanza)?;
        }
        Ok(apt)
    }

    fn sources(&self) -> PathBuf {
        self.dir.join("sources.d/debian.sources")
    }

    /// By renaming, for other processes may read the file at any time.
    fn write_sources(&self, stanza: &str) -> Result<()> {
        let draft = self.dir.join(format!("sources.{}.tmp", std::process::id()));
        fs::write(&draft, stanza).with_context(|| format!("writing {}", draft.display()))?;
        fs::rename(&draft, self.sources()).with_context(|| format!("renaming {}", draft.display()))
    }

    /// An apt tool under this configuration. By options, for they win over /etc/apt/apt.conf.d,
    /// whose proxy settings stay in force.
    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        let path = |option: &str, name: &str| {
            let mut text = OsString::from(format!("{option}="));
            text.push(self.dir.join(name));
            text
        };
        command.env("LC_ALL", "C").arg("-qq");
        for option in [
            "Dir::Etc::SourceList=/dev/null".into(),
            path("Dir::Etc::SourceParts", "sources.d"),
            path("Dir::State::Lists", "lists"),
            path("Dir::Cache", "cache"),
            // Container images switch these off; a query then takes 0.4 s instead of 0.02 s.
            "Dir::Cache::pkgcache=pkgcache.bin".into(),
            "Dir::Cache::srcpkgcache=srcpkgcache.bin".into(),
            // apt's own user cannot enter a home directory.
            "APT::Sandbox::User=root".into(),
            // A list that could not be fetched is an error here, not a warning.
            "APT::Update::Error-Mode=any".into(),
        ] {
            command.arg("-o").arg(option);
        }
        command
    }

    /// Fetches the lists, at most once per process.
    fn refresh(&self, step: &Step) -> Result<()> {
        static REFRESHED: Mutex<Vec<Release>> = Mutex::new(Vec::new());
        let mut refreshed = REFRESHED.lock().expect("nothing panics while the lists are fetched");
        if !refreshed.contains(&self.release) {
            let lock = self.lock_file()?;
            lock.lock().context("locking the package lists")?;
            step.run(self.command("apt-get").arg("update"))?;
            refreshed.push(self.release);
        }
        Ok(())
    }

    fn newest(&self, pattern: &str) -> Result<Option<Package>> {
        let prefix = pattern.split('*').next().unwrap_or_default();
        let names = self.query(&["pkgnames", prefix])?;
        let names: Vec<_> = names.lines().filter(|name| matches(pattern, name)).collect();
        if names.is_empty() {
            return Ok(None);
        }
        let mut newest: Option<Package> = None;
        for package in self.versions(&names)? {
            let newer = match &newest {
                None => true,
                Some(best) => compare(&package.version, &best.version)? == Ordering::Greater,
            };
            if newer {
                newest = Some(package);
            }
        }
        Ok(newest)
    }

    /// All versions that the lists know.
    fn versions(&self, names: &[&str]) -> Result<Vec<Package>> {
        let table = self.query(&[&["madison"], names].concat())?;
        Ok(table.lines().filter_map(package_of_row).collect())
    }

    fn check_served(&self, package: &str, version: &str) -> Result<()> {
        let served = self.versions(&[package])?;
        if served.iter().any(|found| found.version == version) {
            return Ok(());
        }
        let served: Vec<_> = served.into_iter().map(|found| found.version).collect();
        bail!("{package} {version} is not served (any more); served: [{}]", served.join(", "))
    }

    fn query(&self, arguments: &[&str]) -> Result<String> {
        let lock = self.lock_file()?;
        lock.lock_shared().context("locking the package lists")?;
        let output = self.command("apt-cache").args(arguments).output();
        let output = output.context("running apt-cache")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "apt-cache {arguments:?} failed: {errors}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn lock_file(&self) -> Result<File> {
        File::create(self.dir.join("lock")).context("creating the lock of the package lists")
    }
}

/// `name | version | source`, as `apt-cache madison` prints it.
fn package_of_row(row: &str) -> Option<Package> {
    let mut columns = row.split('|').map(str::trim);
    let (name, version) = (columns.next()?, columns.next()?);
    // Source packages are listed too when the system's sources have them.
    let binary = columns.next()?.ends_with("Packages");
    binary.then(|| Package { name: name.to_owned(), version: version.to_owned() })
}

/// Debian's order of versions, by the tool that defines it.
fn compare(left: &str, right: &str) -> Result<Ordering> {
    let holds = |relation: &str| {
        let arguments = ["--compare-versions", left, relation, right];
        let status = Command::new("dpkg").args(arguments).status().context("running dpkg")?;
        anyhow::Ok(status.success())
    };
    Ok(match (holds("gt")?, holds("lt")?) {
        (true, _) => Ordering::Greater,
        (_, true) => Ordering::Less,
        _ => Ordering::Equal,
    })
}

/// Whether a pattern, in which `*` stands for any characters, is a name's.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            name.char_indices().any(|(at, _)| matches(rest, &name[at..])) || matches(rest, "")
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{Package, compare, matches, package_of_row};

    #[test]
    fn a_star_stands_for_any_characters() {
        let pattern = "linux-image-6.*-cloud-amd64";
        assert!(matches(pattern, "linux-image-6.12.9+deb12-cloud-amd64"));
        assert!(matches(pattern, "linux-image-6.-cloud-amd64"));
        assert!(!matches(pattern, "linux-image-6.12.9+deb12-cloud-amd64-dbg"));
        assert!(!matches(pattern, "linux-image-5.10-cloud-amd64"));
        assert!(matches("lib*", "lib"));
        assert!(matches("exact", "exact") && !matches("exact", "exactly"));
    }

    #[test]
    fn a_row_names_a_binary_package_or_nothing() {
        let row = " tool | 1:2.0-1~bpo12+1 | http://m.example/d bookworm/main amd64 Packages";
        let package = Package { name: "tool".to_owned(), version: "1:2.0-1~bpo12+1".to_owned() };
        assert_eq!(package_of_row(row), Some(package));
        assert_eq!(package_of_row("tool | 1.0 | http://m.example/d bookworm/main Sources"), None);
        assert_eq!(package_of_row(""), None);
    }

    #[test]
    fn versions_are_ordered_as_debian_orders_them() {
        assert_eq!(compare("6.12.95-1", "6.12.9-1").unwrap(), Ordering::Greater);
        assert_eq!(compare("1.0~bpo12+1", "1.0").unwrap(), Ordering::Less);
        assert_eq!(compare("1.0", "1.0").unwrap(), Ordering::Equal);
    }
}
