//! The authority's files, all of mode 0600 in `<data>/ca/`.
//!
//! ```text
//! root.key, root.crt                the first root, if it was made here
//! root-<pin>.key, root-<pin>.crt    roots made by `usher ca rotate`
//! issuer.key, issuer.crt            this control plane's intermediate (and what leads from it to the root)
//! id                                by what other control planes know this one
//! trust.json                        the roots and their phases, of a control plane that is alone
//! issued.jsonl                      every certificate that was signed
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rcgen::{Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    authority::AuthorityError,
    certificate::{self, Signed},
    roots::short,
};
use crate::private_files::{private_directory, read_private, write_private};

/// Where they are.
#[derive(Debug, Clone)]
pub(super) struct Directory(PathBuf);

/// A root whose key is here.
pub(super) struct OwnRoot {
    pub(super) certificate: Signed,
    pub(super) key: KeyPair,
}

impl OwnRoot {
    /// For what it signs.
    pub(super) fn signer(self) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
        Issuer::from_ca_cert_der(&self.certificate, self.key).map_err(AuthorityError::Sign)
    }
}

impl Directory {
    /// Makes it, if there is none.
    pub(super) fn open(path: &Path) -> Result<Self, AuthorityError> {
        private_directory(path).map_err(file(path))?;
        Ok(Self(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The roots whose keys are here. Looked at each time, so that a key which is taken away is gone at once.
    pub(super) fn own_roots(&self) -> Result<Vec<OwnRoot>, AuthorityError> {
        let entries = fs::read_dir(&self.0).map_err(file(&self.0))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with("root") && name.ends_with(".key"))
            .collect();
        names.sort();
        let root = |name: &String| self.own_root(name.trim_end_matches(".key"));
        names
            .iter()
            .map(root)
            .filter_map(Result::transpose)
            .collect()
    }

    /// `None`: its certificate is not written yet.
    fn own_root(&self, stem: &str) -> Result<Option<OwnRoot>, AuthorityError> {
        let (key_path, root_path) = self.of_root(stem);
        let key = read_key(&key_path)?;
        let Some(certificate) = read_chain(&root_path)?.into_iter().next() else {
            return Ok(None);
        };
        if !certificate::is_for(&certificate, &key) {
            return Err(damaged(&root_path, "certificate for the key beside it"));
        }
        Ok(Some(OwnRoot { certificate, key }))
    }

    fn of_root(&self, stem: &str) -> (PathBuf, PathBuf) {
        (
            self.0.join(format!("{stem}.key")),
            self.0.join(format!("{stem}.crt")),
        )
    }

    /// The key of the first root. A crash between both writes leaves a key without a certificate: it is used.
    pub(super) fn first_key(&self) -> Result<KeyPair, AuthorityError> {
        let (key_path, root_path) = self.of_root("root");
        match read_key(&key_path) {
            Err(AuthorityError::File { source, .. })
                if source.kind() == io::ErrorKind::NotFound && !root_path.exists() =>
            {
                let key = KeyPair::generate().map_err(AuthorityError::Sign)?;
                write(&key_path, key.serialize_pem().as_bytes())?;
                Ok(key)
            }
            key => key,
        }
    }

    /// The first root's certificate; `None`: there is none yet.
    pub(super) fn first_certificate(&self) -> Result<Option<Signed>, AuthorityError> {
        Ok(self.own_root("root")?.map(|root| root.certificate))
    }

    /// Whether a first root is all that was ever made here: whatever signs has an id, an intermediate and a record beside it.
    pub(super) fn never_signed(&self) -> Result<bool, AuthorityError> {
        let mut entries = fs::read_dir(&self.0).map_err(file(&self.0))?;
        entries.try_fold(true, |so_far, entry| {
            let name = entry.map_err(file(&self.0))?.file_name();
            let name = name.to_string_lossy();
            // What a crash left of writing them.
            let is_unfinished = name.starts_with('.');
            Ok(so_far && (is_unfinished || matches!(&*name, "root.key" | "root.crt")))
        })
    }

    /// Puts the first root out of the way; a file that is not there was not made.
    pub(super) fn set_aside_first(&self) -> Result<(), AuthorityError> {
        for name in ["root.key", "root.crt"] {
            let path = self.0.join(name);
            match fs::rename(&path, self.0.join(format!("unused-{name}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(file(&path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Keeps the first root's certificate.
    pub(super) fn keep_first(&self, certificate: &Signed) -> Result<(), AuthorityError> {
        let (_, path) = self.of_root("root");
        write(&path, pem(std::slice::from_ref(certificate)).as_bytes())
    }

    /// Keeps one more root, key first.
    pub(super) fn keep_root(&self, pin: &str, root: &OwnRoot) -> Result<(), AuthorityError> {
        let (key_path, root_path) = self.of_root(&format!("root-{}", short(pin)));
        write(&key_path, root.key.serialize_pem().as_bytes())?;
        let certificate = pem(std::slice::from_ref(&root.certificate));
        write(&root_path, certificate.as_bytes())
    }

    /// Our intermediate's key and chain; `None`: there is none, or a crash left half of it.
    pub(super) fn issuer(&self) -> Result<Option<(KeyPair, Vec<Signed>)>, AuthorityError> {
        let key = match read_key(&self.0.join("issuer.key")) {
            Err(AuthorityError::File { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                return Ok(None);
            }
            key => key?,
        };
        let chain = read_chain(&self.0.join("issuer.crt"))?;
        let fits = chain
            .first()
            .is_some_and(|issuer| certificate::is_for(issuer, &key));
        Ok(fits.then_some((key, chain)))
    }

    /// Keeps an intermediate. A crash between both writes leaves two that do not fit, and the next start takes a new one.
    pub(super) fn keep_issuer(
        &self,
        key: &KeyPair,
        chain: &[Signed],
    ) -> Result<(), AuthorityError> {
        let key_path = self.0.join("issuer.key");
        write(&key_path, key.serialize_pem().as_bytes())?;
        write(&self.0.join("issuer.crt"), pem(chain).as_bytes())
    }

    /// By what other control planes know this one: made once.
    pub(super) fn id(&self) -> Result<String, AuthorityError> {
        let path = self.0.join("id");
        match fs::read_to_string(&path) {
            Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file(&path)(error)),
            Ok(_) | Err(_) => {
                let id = uuid::Uuid::new_v4().simple().to_string();
                write(&path, id.as_bytes())?;
                Ok(id)
            }
        }
    }
}

/// A private key in PEM, in a file of which others keep out.
pub(super) fn read_key(path: &Path) -> Result<KeyPair, AuthorityError> {
    let pem = read_private(path).map_err(file(path))?;
    String::from_utf8(pem)
        .ok()
        .and_then(|pem| KeyPair::from_pem(&pem).ok())
        .ok_or_else(|| damaged(path, "private key in PEM"))
}

/// Certificates in PEM, in their order; none: there is no such file.
pub(super) fn read_chain(path: &Path) -> Result<Vec<Signed>, AuthorityError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file(path)(error)),
    };
    let not_one = || damaged(path, "certificate in PEM");
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| not_one())?;
    if chain.is_empty() || chain.iter().any(|der| certificate::facts(der).is_err()) {
        return Err(not_one());
    }
    Ok(chain)
}

pub(super) fn pem(chain: &[Signed]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut text = String::new();
    for der in chain {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = STANDARD.encode(der);
        for line in encoded.as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

fn write(path: &Path, content: &[u8]) -> Result<(), AuthorityError> {
    write_private(path, content).map_err(file(path))
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path = path.to_owned();
    |source| AuthorityError::File { path, source }
}

fn damaged(path: &Path, what: &'static str) -> AuthorityError {
    let path = path.to_owned();
    AuthorityError::Damaged { path, what }
}
