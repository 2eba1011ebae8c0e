//! An inverted index: where each word occurs.

use super::BuiltinError;
use super::arguments::{Arguments, text_of};
use crate::{Bytes, Job, Text, words};

/// Words are runs of bytes other than ASCII white space. The files are a field of the key, so that they come sorted and
/// each once, however many there are. By their last names alone, files of one name in several folders are one.
pub(super) fn job(arguments: Arguments<'_>) -> Result<Job, BuiltinError> {
    let lowers = arguments.choice("case", &[("keep", false), ("lower", true)])?;
    let whole = arguments.choice("names", &[("file", false), ("path", true)])?;
    let job = Job::map::<(Bytes, Text), ()>(move |line, out| {
        let last = line.path.rsplit('/').next().unwrap_or(line.path);
        let file = if whole { line.path } else { last };
        for word in words(text_of(line)) {
            match lowers {
                true => out.emit((&word.to_ascii_lowercase(), file), ()),
                false => out.emit((word, file), ()),
            }
        }
        Ok(())
    })
    .combine(|(), (), one| one.set(()))
    .group_by::<1>()
    .reduce::<Bytes, Text>(|(word, _), pairs, out| {
        let (mut files, mut last) = (String::new(), String::new());
        while let Some(((_, file), ())) = pairs.next_pair() {
            if files.is_empty() || file != last {
                if !files.is_empty() {
                    files.push('\t');
                }
                files.push_str(file);
                file.clone_into(&mut last);
            }
        }
        out.emit(word, &files);
        Ok(())
    });
    Ok(job.into())
}
