//! Questions about the project's repository, on the blocking pool.

use std::sync::Arc;

use slipway_git::{GitError, GitView, PathKind, changes_checksum, changes_size};
use slipway_process::Tasks;
use slipway_stages::{
    Answer, Question,
    facts::{ChangesFact, TreeFact},
};

use crate::outside::Outside;

/// Answers a question about files, trees, changes or history.
pub(super) async fn answer(outside: &Outside, tasks: &Tasks, question: Question) -> Result<Answer, String> {
    let git = Arc::clone(&outside.git);
    tasks
        .blocking(move || look(git.as_ref(), &question).map_err(|error| format!("{}: {error}", doing(&question))))
        .await
}

fn look(git: &dyn GitView, question: &Question) -> Result<Answer, GitError> {
    match question {
        Question::File { commit, path } => Ok(Answer::File(git.read(*commit, path)?.map(Arc::from))),
        Question::Tree { commit, scope, .. } => {
            let tree = git.tree(*commit, scope)?;
            let base_is_file = tree.base == Some(PathKind::File);
            Ok(Answer::Tree(TreeFact { base_is_file, files: tree.files, checksum: tree.checksum }))
        }
        Question::Changes { from, to, scope, .. } => {
            let changes = git.changes(*from, *to, scope)?;
            Ok(Answer::Changes(ChangesFact {
                // Only a scope whose base is a file has a change at its root.
                base_is_file: changes.iter().any(|change| change.path.is_root()),
                files: changes.len() as u64,
                bytes: changes_size(&changes),
                checksum: changes_checksum(&changes),
            }))
        }
        Question::Ancestor { old, new, .. } => match git.is_ancestor(*old, *new) {
            Ok(yes) => Ok(Answer::Ancestor(Some(yes))),
            // A commit that is not here is no ancestor as far as anyone here can tell: the stage is left alone.
            Err(GitError::Shallow(_) | GitError::Missing(_) | GitError::Submodule { .. }) => Ok(Answer::Ancestor(None)),
            Err(error) => Err(error),
        },
        Question::Stored { .. } | Question::Foreseen { .. } | Question::Base { .. } | Question::Imported { .. } => {
            Err(GitError::Broken("asked something that is no matter of git".to_owned()))
        }
    }
}

fn doing(question: &Question) -> String {
    match question {
        Question::File { commit, path } => format!("read `{path}` at commit {commit}"),
        Question::Tree { commit, scope, .. } => format!("read the files of `/{}` at commit {commit}", scope.base()),
        Question::Changes { from, to, scope, .. } => {
            format!("find what changed in `/{}` between commits {from} and {to}", scope.base())
        }
        Question::Ancestor { old, new, .. } => format!("find out whether commit {old} is an ancestor of {new}"),
        Question::Stored { .. } | Question::Foreseen { .. } | Question::Base { .. } | Question::Imported { .. } => {
            "ask git".to_owned()
        }
    }
}
