//! The place of the lake: a folder, or a bucket with the settings to reach it.
//!
//! Credentials of a bucket are never in `kefu.toml`. They come from the standard variables of AWS,
//! from a profile with static keys, or from a role.

use std::path::{Path, PathBuf};

use super::listing::Listed;
use super::sources::Sources;
use super::{Origin, Setting, SettingsError};
use crate::lake::{Addressing, BucketCredentials, BucketOptions, LakePlace};
use crate::plain_file;
use crate::secret::Secret;
use crate::wechat::is_loopback;

const SCHEME: &str = "s3://";

/// The variables that describe a role: web identity, a container, or the machine.
const ROLE: [&str; 8] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
];

/// Whether the lake is named as a bucket.
pub fn is_bucket(lake: &Path) -> bool {
    lake.to_str().is_some_and(|lake| lake.starts_with(SCHEME))
}

impl Sources<'_> {
    /// The place of the lake, and its settings as `kefu doctor` lists them.
    pub(super) fn lake_place(
        &self,
        lake: &Setting<PathBuf>,
    ) -> Result<(LakePlace, Vec<Listed>), SettingsError> {
        let wrong = |reason: &str| SettingsError::Wrong {
            origin: lake.origin.clone(),
            reason: reason.to_owned(),
        };
        if !is_bucket(&lake.value) {
            let text = lake.value.to_string_lossy();
            return match text.split_once(":/") {
                Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    Err(wrong(
                        "a lake is a folder, or a bucket as in s3://bucket/prefix. OSS, COS, R2 \
                         and MinIO are also s3://, with their endpoint under [lake_options]",
                    ))
                }
                _ => {
                    self.refuse_options(lake)?;
                    Ok((LakePlace::Folder(lake.value.clone()), Vec::new()))
                }
            };
        }
        let url = lake.value.to_str().and_then(|url| url.strip_prefix(SCHEME)).unwrap_or_default();
        let (bucket, prefix) = url.split_once('/').unwrap_or((url, ""));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if bucket.len() < 3 || !bucket.bytes().all(is_plain) {
            return Err(wrong("it names no bucket; write it as in s3://bucket/prefix"));
        }
        let prefix = prefix.trim_end_matches('/');
        let is_folder = |name: &str| !["", ".", ".."].contains(&name);
        if !prefix.is_empty() && !prefix.split('/').all(is_folder) {
            return Err(wrong("its prefix has an empty folder, or one named `.` or `..`"));
        }
        let (endpoint, addressing, region) = (self.endpoint()?, self.addressing()?, self.region());
        let options = &self.file.values.lake_options;
        let single_writer = options.single_writer.unwrap_or_default();
        let scratch = options
            .scratch
            .clone()
            .map_or_else(std::env::temp_dir, |scratch| self.folder().join(scratch));
        let (credentials, source) = self.bucket_credentials()?;
        let origin = |name: &str, is_filed: bool| match is_filed {
            true => self.in_file(name),
            false => Origin::Default,
        };
        let shown = endpoint.value.clone().unwrap_or_else(|| "AWS".to_owned());
        let listed = vec![
            Listed::new("lake_options.endpoint", shown, &endpoint.origin),
            Listed::of("lake_options.addressing", &addressing),
            Listed::of("lake_options.region", &region),
            Listed::new(
                "lake_options.single_writer",
                single_writer,
                origin("lake_options.single_writer", options.single_writer.is_some()),
            ),
            Listed::new(
                "lake_options.scratch",
                scratch.display(),
                origin("lake_options.scratch", options.scratch.is_some()),
            ),
            Listed::new("credentials of the bucket", "(found)", source),
        ];
        let options = BucketOptions {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: endpoint.value,
            addressing: addressing.value,
            region: region.value,
            single_writer,
            scratch,
            credentials,
        };
        Ok((LakePlace::Bucket(Box::new(options)), listed))
    }

    /// Refuses `[lake_options]` beside a lake in a folder, because they are for a bucket. Allows
    /// them if the file itself names a bucket, or if --lake names the folder for this command only.
    fn refuse_options(&self, lake: &Setting<PathBuf>) -> Result<(), SettingsError> {
        let values = &self.file.values;
        let has_bucket = values.lake.as_ref().is_some_and(|lake| is_bucket(Path::new(lake)));
        let is_allowed = has_bucket || matches!(lake.origin, Origin::Flag(_));
        match values.lake_options.first_key().filter(|_| !is_allowed) {
            None => Ok(()),
            Some(key) => Err(SettingsError::Wrong {
                origin: self.in_file(format!("lake_options.{key}")),
                reason: format!(
                    "it is for a lake in a bucket, and the lake is the folder {} ({}); set lake to \
                     s3://bucket/prefix, or remove [lake_options]",
                    lake.value.display(),
                    lake.origin
                ),
            }),
        }
    }

    fn endpoint(&self) -> Result<Setting<Option<String>>, SettingsError> {
        let filed = ("lake_options.endpoint", &self.file.values.lake_options.endpoint);
        let endpoint = self
            .text(("--lake", None), "AWS_ENDPOINT_URL_S3", filed)
            .or_else(|| self.text(("--lake", None), "AWS_ENDPOINT_URL", ("", &None)));
        let Some(endpoint) = endpoint else {
            return Ok(Setting { value: None, origin: Origin::Default });
        };
        endpoint.try_map(|text| {
            let url = reqwest::Url::parse(&text).map_err(|error| error.to_string())?;
            if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
                return Err("write the address without user, password and query".to_owned());
            }
            match url.scheme() {
                "https" => Ok(Some(text)),
                "http" if is_loopback(&url) => Ok(Some(text)),
                "http" => Err("plain http is allowed only to this machine; use https".to_owned()),
                _ => Err("write it as in https://oss-cn-hangzhou.aliyuncs.com".to_owned()),
            }
        })
    }

    fn addressing(&self) -> Result<Setting<Addressing>, SettingsError> {
        let endpoint = self.endpoint()?.value.and_then(|url| reqwest::Url::parse(&url).ok());
        // The name of a bucket cannot stand before an IP address.
        let is_address = endpoint.as_ref().is_some_and(|url| url.domain().is_none());
        let options = &self.file.values.lake_options;
        if let Some(text) = options.addressing.clone() {
            let origin = self.in_file("lake_options.addressing");
            return Setting { value: text, origin }.try_map(|text| match text.as_str() {
                "path" => Ok(Addressing::Path),
                "virtual" if is_address => {
                    Err("write \"path\", because the endpoint is an IP address".to_owned())
                }
                "virtual" => Ok(Addressing::Virtual),
                _ => Err("write \"path\" or \"virtual\"".to_owned()),
            });
        }
        let value = match is_address || endpoint.is_some_and(|url| is_loopback(&url)) {
            true => Addressing::Path,
            false => Addressing::Virtual,
        };
        Ok(Setting { value, origin: Origin::Default })
    }

    fn region(&self) -> Setting<String> {
        let filed = ("lake_options.region", &self.file.values.lake_options.region);
        self.text(("--lake", None), "AWS_REGION", filed)
            .or_else(|| self.text(("--lake", None), "AWS_DEFAULT_REGION", ("", &None)))
            .unwrap_or_else(|| Setting { value: "us-east-1".to_owned(), origin: Origin::Default })
    }

    /// The credentials of the bucket, and where they come from.
    fn bucket_credentials(&self) -> Result<(BucketCredentials, String), SettingsError> {
        let variable = |name: &'static str| (self.environment)(name);
        if let (Some(id), Some(key)) =
            (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        {
            let token = variable("AWS_SESSION_TOKEN").map(Secret::new);
            let (id, key) = (Secret::new(id), Secret::new(key));
            let origin = "the environment variable AWS_ACCESS_KEY_ID".to_owned();
            return Ok((BucketCredentials::Keys { id, key, token }, origin));
        }
        let named = variable("AWS_PROFILE");
        let role: Vec<_> =
            ROLE.into_iter().filter_map(|name| Some((name, variable(name)?))).collect();
        if named.is_some() || role.is_empty() {
            let profile = named.clone().unwrap_or_else(|| "default".to_owned());
            let path = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(|| {
                Some(PathBuf::from(variable("HOME")?).join(".aws").join("credentials"))
            });
            let text = path.as_ref().and_then(|path| plain_file::read(path).ok());
            let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
            let keys = text.as_deref().and_then(|text| keys_of_profile(text, &profile));
            let path = path.unwrap_or_default();
            match keys {
                Some(keys) => {
                    return Ok((keys, format!("the profile {profile} in {}", path.display())));
                }
                None if named.is_some() => {
                    let reason = format!(
                        "{} has no profile {profile} with aws_access_key_id and aws_secret_access_key",
                        path.display()
                    );
                    return Err(SettingsError::Wrong {
                        origin: Origin::Environment("AWS_PROFILE"),
                        reason,
                    });
                }
                None => {}
            }
        }
        let origin = match role.is_empty() {
            true => "the role of this machine".to_owned(),
            false => "the role in the environment".to_owned(),
        };
        Ok((BucketCredentials::Role(role), origin))
    }
}

/// The static keys of a profile in a file of AWS credentials.
fn keys_of_profile(text: &str, profile: &str) -> Option<BucketCredentials> {
    let mut section = "";
    let (mut id, mut key, mut token) = (None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.trim();
        } else if let Some((name, value)) = line.split_once('=').filter(|_| section == profile) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => id = value.map(Secret::new),
                "aws_secret_access_key" => key = value.map(Secret::new),
                "aws_session_token" => token = value.map(Secret::new),
                _ => {}
            }
        }
    }
    Some(BucketCredentials::Keys { id: id?, key: key?, token })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Flags, Settings};

    fn lake(variables: &[(&str, &str)]) -> Result<BucketOptions, SettingsError> {
        let environment = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        match Settings::resolve(&Flags::default(), &environment)?.place {
            LakePlace::Bucket(options) => Ok(*options),
            LakePlace::Folder(path) => panic!("a folder {}", path.display()),
        }
    }

    #[test]
    fn a_bucket_takes_its_settings_from_the_environment() {
        let keys =
            [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "hunter2hunter")];
        let with = |more: &[(&'static str, &'static str)]| lake(&[&keys[..], more].concat());
        let options = with(&[("KEFU_LAKE", "s3://records/a/客服/")]).unwrap();
        assert_eq!((options.bucket.as_str(), options.prefix.as_str()), ("records", "a/客服"));
        assert_eq!(
            (options.addressing, options.region.as_str()),
            (Addressing::Virtual, "us-east-1")
        );
        let local =
            [("KEFU_LAKE", "s3://records"), ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")];
        let options = with(&local).unwrap();
        assert_eq!(
            (options.url().as_str(), options.addressing),
            ("s3://records", Addressing::Path)
        );
        let by_address =
            [("KEFU_LAKE", "s3://records"), ("AWS_ENDPOINT_URL_S3", "https://192.0.2.5:9000")];
        assert_eq!(with(&by_address).unwrap().addressing, Addressing::Path);
        for (name, value) in [
            ("KEFU_LAKE", "s3://"),
            ("KEFU_LAKE", "s3:/records/a"),
            ("KEFU_LAKE", "s3://records/a/../b"),
            ("KEFU_LAKE", "oss://records/a"),
            ("AWS_ENDPOINT_URL_S3", "http://minio.example.com"),
            ("AWS_ENDPOINT_URL_S3", "https://user:hunter3@minio.example.com"),
        ] {
            let error =
                lake(&[&[(name, value)], &keys[..], &[("KEFU_LAKE", "s3://records")]].concat());
            let error = error.unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("hunter3"), "{error}");
        }
    }

    #[test]
    fn options_of_a_bucket_beside_a_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("kefu.toml");
        let resolved = |text: &str, flags: Flags, lake: Option<&str>| {
            fs_err::write(&config, text).unwrap();
            let environment = |name: &str| match name {
                "KEFU_LAKE" => lake.map(str::to_owned),
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("hunter2hunter".to_owned()),
                _ => None,
            };
            Settings::resolve(&Flags { config: Some(config.clone()), ..flags }, &environment)
        };
        let options = "[lake_options]\nregion = \"cn-hangzhou\"\n";
        let in_folder = format!("lake = \"records\"\n{options}");
        let in_bucket = format!("lake = \"s3://records\"\n{options}");
        for (text, lake) in [(&in_folder, None), (&options.to_owned(), Some("/data/lake"))] {
            let error = resolved(text, Flags::default(), lake).unwrap_err().to_string();
            for word in ["`lake_options.region`", "the lake is the folder", "s3://bucket/prefix"] {
                assert!(error.contains(word), "{error}");
            }
        }
        // --lake and the environment can name another lake for one command.
        let demo = || Flags { lake: Some("data/demo".into()), ..Flags::default() };
        assert!(resolved(&in_folder, demo(), None).is_ok());
        assert!(resolved(&in_bucket, Flags::default(), Some("/data/lake")).is_ok());
        assert!(resolved(&in_bucket, Flags::default(), None).is_ok());
        assert!(resolved(options, Flags::default(), Some("s3://records")).is_ok());
    }

    #[test]
    fn a_profile_gives_static_keys() {
        let text = "[other]\naws_access_key_id=x\n# c\n[shop]\naws_access_key_id = AKID1\n\
                    aws_secret_access_key = a/b+c=\n";
        let Some(BucketCredentials::Keys { id, key, token: None }) = keys_of_profile(text, "shop")
        else {
            panic!()
        };
        assert_eq!((id.expose(), key.expose()), ("AKID1", "a/b+c="));
        assert!(keys_of_profile(text, "other").is_none() && keys_of_profile(text, "no").is_none());
    }
}
