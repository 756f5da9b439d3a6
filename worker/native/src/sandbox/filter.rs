//! The filter of system calls: what containers of Docker may call, and nothing else.
//!
//! A call that is not on the list does not exist (`ENOSYS`), so that programs fall back to older ones; what is known and
//! forbidden is not permitted (`EPERM`), as programs expect it of an unprivileged container.

use std::{collections::BTreeMap, io};

use serde_json::{Value, json};

use super::search::{self, Answer};

/// Flags of `clone` that make namespaces.
const NAMESPACES: u32 = 0x7E02_0000;
/// Values of `personality` that change nothing of importance.
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// A system call: its name, and its number here.
type Call = (&'static str, i64);

/// How calls fail that are not known here, and those that are forbidden.
const UNKNOWN: u16 = 38;
const FORBIDS: u16 = 1;

/// Calls by the names of their numbers.
macro_rules! calls {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), libc::$name)),*] };
}

/// Sets the filter, for good and for all that is started from here.
pub(super) fn set() -> io::Result<()> {
    let program = search::program(&ranges()).ok_or_else(|| io::Error::other("the filter is too long"))?;
    seccompiler::apply_filter(&program).map_err(|error| io::Error::other(error.to_string()))
}

/// What becomes of calls, by number: each answer holds from its number to the next one's.
fn ranges() -> Vec<(u32, Answer)> {
    let known = |calls: &[&[Call]], answer: Answer| -> Vec<(u32, Answer)> {
        let numbers = calls.iter().copied().flatten().filter_map(|(_, number)| u32::try_from(*number).ok());
        numbers.map(|number| (number, answer.clone())).collect()
    };
    let mut answers: BTreeMap<u32, Answer> = known(&[ALLOWED, ALLOWED_HERE], Answer::Allowed).into_iter().collect();
    answers.extend(known(&[FORBIDDEN], Answer::Fails(FORBIDS)));
    answers.extend(known(&[&[("SYS_clone", libc::SYS_clone)]], Answer::Without(NAMESPACES, UNKNOWN)));
    let personalities = Answer::OneOf(PERSONALITIES.to_vec(), UNKNOWN);
    answers.extend(known(&[&[("SYS_personality", libc::SYS_personality)]], personalities));
    let mut ranges: Vec<(u32, Answer)> = Vec::new();
    let mut add = |number: u32, answer: Answer| match ranges.last() {
        Some((_, last)) if *last == answer => {}
        Some(_) | None => ranges.push((number, answer)),
    };
    let mut next = 0;
    for (number, answer) in answers {
        if number > next {
            add(next, Answer::Fails(UNKNOWN));
        }
        add(number, answer);
        next = number + 1;
    }
    add(next, Answer::Fails(UNKNOWN));
    ranges
}

/// The filter in the words of the OCI specification.
pub(super) fn describe() -> Value {
    let names = |calls: &[&[Call]]| -> Vec<&str> {
        let all = calls.iter().copied().flatten();
        all.map(|(name, _)| name.strip_prefix("SYS_").unwrap_or(name)).collect()
    };
    let argument = |value: u32, rest: Value| {
        let mut argument = json!({ "index": 0, "value": value });
        if let (Some(argument), Value::Object(rest)) = (argument.as_object_mut(), rest) {
            argument.extend(rest);
        }
        json!([argument])
    };
    let permitted = |names: Vec<&str>| json!({ "names": names, "action": "SCMP_ACT_ALLOW" });
    let permitted_one =
        |name: &str, arguments: Value| json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": arguments });
    let mut rules = vec![permitted(names(&[ALLOWED, ALLOWED_HERE]))];
    rules.push(json!({ "names": names(&[FORBIDDEN]), "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM }));
    rules.push(permitted_one("clone", argument(NAMESPACES, json!({ "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }))));
    let personalities = PERSONALITIES.map(|value| argument(value, json!({ "op": "SCMP_CMP_EQ" })));
    rules.extend(personalities.map(|arguments| permitted_one("personality", arguments)));
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": libc::ENOSYS, "syscalls": rules })
}

/// Calls that are known and not permitted.
const FORBIDDEN: &[Call] = calls![
    SYS_acct,
    SYS_add_key,
    SYS_bpf,
    SYS_clock_adjtime,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_fanotify_init,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_init_module,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_lookup_dcookie,
    SYS_mbind,
    SYS_migrate_pages,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_move_pages,
    SYS_open_by_handle_at,
    SYS_open_tree,
    SYS_perf_event_open,
    SYS_pivot_root,
    SYS_quotactl,
    SYS_reboot,
    SYS_request_key,
    SYS_set_mempolicy,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_setns,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_syslog,
    SYS_umount2,
    SYS_unshare,
    SYS_userfaultfd,
    SYS_vhangup,
];

/// Calls that are permitted, on every machine.
const ALLOWED: &[Call] = calls![
    SYS_accept,
    SYS_accept4,
    SYS_bind,
    SYS_brk,
    SYS_capget,
    SYS_capset,
    SYS_chdir,
    SYS_chroot,
    SYS_clock_getres,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_close,
    SYS_close_range,
    SYS_connect,
    SYS_copy_file_range,
    SYS_dup,
    SYS_dup3,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_execve,
    SYS_execveat,
    SYS_exit,
    SYS_exit_group,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fadvise64,
    SYS_fallocate,
    SYS_fanotify_mark,
    SYS_fchdir,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_fcntl,
    SYS_fdatasync,
    SYS_fgetxattr,
    SYS_flistxattr,
    SYS_flock,
    SYS_fremovexattr,
    SYS_fsetxattr,
    SYS_fstat,
    SYS_fstatfs,
    SYS_fsync,
    SYS_ftruncate,
    SYS_futex,
    SYS_futex_waitv,
    SYS_get_robust_list,
    SYS_getcpu,
    SYS_getcwd,
    SYS_getdents64,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getgroups,
    SYS_getitimer,
    SYS_getpeername,
    SYS_getpgid,
    SYS_getpid,
    SYS_getppid,
    SYS_getpriority,
    SYS_getrandom,
    SYS_getresgid,
    SYS_getresuid,
    SYS_getrusage,
    SYS_getsid,
    SYS_getsockname,
    SYS_getsockopt,
    SYS_gettid,
    SYS_gettimeofday,
    SYS_getuid,
    SYS_getxattr,
    SYS_inotify_add_watch,
    SYS_inotify_init1,
    SYS_inotify_rm_watch,
    SYS_io_cancel,
    SYS_io_destroy,
    SYS_io_getevents,
    SYS_io_setup,
    SYS_io_submit,
    SYS_ioctl,
    SYS_ioprio_get,
    SYS_ioprio_set,
    SYS_kill,
    SYS_landlock_add_rule,
    SYS_landlock_create_ruleset,
    SYS_landlock_restrict_self,
    SYS_lgetxattr,
    SYS_linkat,
    SYS_listen,
    SYS_listxattr,
    SYS_llistxattr,
    SYS_lremovexattr,
    SYS_lseek,
    SYS_lsetxattr,
    SYS_madvise,
    SYS_membarrier,
    SYS_memfd_create,
    SYS_mincore,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_mlock,
    SYS_mlock2,
    SYS_mlockall,
    SYS_mmap,
    SYS_mprotect,
    SYS_mq_getsetattr,
    SYS_mq_notify,
    SYS_mq_open,
    SYS_mq_timedreceive,
    SYS_mq_timedsend,
    SYS_mq_unlink,
    SYS_mremap,
    SYS_msgctl,
    SYS_msgget,
    SYS_msgrcv,
    SYS_msgsnd,
    SYS_msync,
    SYS_munlock,
    SYS_munlockall,
    SYS_munmap,
    SYS_name_to_handle_at,
    SYS_nanosleep,
    SYS_openat,
    SYS_openat2,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_pipe2,
    SYS_pkey_alloc,
    SYS_pkey_free,
    SYS_pkey_mprotect,
    SYS_ppoll,
    SYS_prctl,
    SYS_pread64,
    SYS_preadv,
    SYS_preadv2,
    SYS_prlimit64,
    SYS_process_mrelease,
    SYS_pselect6,
    SYS_ptrace,
    SYS_pwrite64,
    SYS_pwritev,
    SYS_pwritev2,
    SYS_read,
    SYS_readahead,
    SYS_readlinkat,
    SYS_readv,
    SYS_recvfrom,
    SYS_recvmmsg,
    SYS_recvmsg,
    SYS_remap_file_pages,
    SYS_removexattr,
    SYS_renameat2,
    SYS_restart_syscall,
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigpending,
    SYS_rt_sigprocmask,
    SYS_rt_sigqueueinfo,
    SYS_rt_sigreturn,
    SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait,
    SYS_rt_tgsigqueueinfo,
    SYS_sched_get_priority_max,
    SYS_sched_get_priority_min,
    SYS_sched_getaffinity,
    SYS_sched_getattr,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_sched_rr_get_interval,
    SYS_sched_setaffinity,
    SYS_sched_setattr,
    SYS_sched_setparam,
    SYS_sched_setscheduler,
    SYS_sched_yield,
    SYS_seccomp,
    SYS_semctl,
    SYS_semget,
    SYS_semop,
    SYS_semtimedop,
    SYS_sendfile,
    SYS_sendmmsg,
    SYS_sendmsg,
    SYS_sendto,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_setfsgid,
    SYS_setfsuid,
    SYS_setgid,
    SYS_setgroups,
    SYS_setitimer,
    SYS_setpgid,
    SYS_setpriority,
    SYS_setregid,
    SYS_setresgid,
    SYS_setresuid,
    SYS_setreuid,
    SYS_setrlimit,
    SYS_setsid,
    SYS_setsockopt,
    SYS_setuid,
    SYS_setxattr,
    SYS_shmat,
    SYS_shmctl,
    SYS_shmdt,
    SYS_shmget,
    SYS_shutdown,
    SYS_sigaltstack,
    SYS_signalfd4,
    SYS_socket,
    SYS_socketpair,
    SYS_splice,
    SYS_statfs,
    SYS_statx,
    SYS_symlinkat,
    SYS_sync,
    SYS_sync_file_range,
    SYS_syncfs,
    SYS_sysinfo,
    SYS_tee,
    SYS_tgkill,
    SYS_timer_create,
    SYS_timer_delete,
    SYS_timer_getoverrun,
    SYS_timer_gettime,
    SYS_timer_settime,
    SYS_timerfd_create,
    SYS_timerfd_gettime,
    SYS_timerfd_settime,
    SYS_times,
    SYS_tkill,
    SYS_truncate,
    SYS_umask,
    SYS_uname,
    SYS_unlinkat,
    SYS_utimensat,
    SYS_vmsplice,
    SYS_wait4,
    SYS_waitid,
    SYS_write,
    SYS_writev,
    SYS_getrlimit,
    SYS_renameat,
    SYS_newfstatat,
];

/// Calls that only this kind of machine has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[Call] = calls![
    SYS_access,
    SYS_alarm,
    SYS_arch_prctl,
    SYS_chmod,
    SYS_chown,
    SYS_creat,
    SYS_dup2,
    SYS_epoll_create,
    SYS_epoll_wait,
    SYS_eventfd,
    SYS_fork,
    SYS_futimesat,
    SYS_getdents,
    SYS_getpgrp,
    SYS_inotify_init,
    SYS_lchown,
    SYS_link,
    SYS_lstat,
    SYS_mkdir,
    SYS_mknod,
    SYS_modify_ldt,
    SYS_open,
    SYS_pause,
    SYS_pipe,
    SYS_poll,
    SYS_readlink,
    SYS_rename,
    SYS_rmdir,
    SYS_select,
    SYS_signalfd,
    SYS_stat,
    SYS_symlink,
    SYS_time,
    SYS_unlink,
    SYS_utime,
    SYS_utimes,
    SYS_vfork,
];
/// Calls that only this kind of machine has.
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[Call] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_call_gets_its_answer() {
        const HERE: u32 = 0xc000_003e;
        let program = search::program(&ranges()).expect("a program");
        assert!(program.len() < 300, "{}", program.len());
        let is_in = |calls: &[Call], number: i64| calls.iter().any(|(_, known)| *known == number);
        for number in (0..1000_u32).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
            let known = i64::from(number);
            let expected = if is_in(ALLOWED, known) || is_in(ALLOWED_HERE, known) {
                0x7fff_0000
            } else if is_in(FORBIDDEN, known) {
                0x0005_0001
            } else {
                0x0005_0026
            };
            if known != libc::SYS_clone && known != libc::SYS_personality {
                assert_eq!(search::answer(&program, HERE, number, 0), expected, "{number}");
            }
        }
        let number = |call: i64| u32::try_from(call).expect("a number");
        let answer = |call: i64, first: u64| search::answer(&program, HERE, number(call), first);
        assert_eq!(answer(libc::SYS_clone, 0x0100_0011), 0x7fff_0000);
        for namespace in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            assert_eq!(answer(libc::SYS_clone, namespace | 0x11), 0x0005_0026, "{namespace:x}");
        }
        assert_eq!(answer(libc::SYS_personality, 8), 0x7fff_0000);
        assert_eq!(answer(libc::SYS_personality, 4), 0x0005_0026);
        assert_eq!(search::answer(&program, HERE ^ 2, 0, 0), 0x8000_0000, "another architecture");
    }

    #[test]
    fn no_call_has_two_answers() {
        let mut all: Vec<i64> =
            [ALLOWED, ALLOWED_HERE, FORBIDDEN].concat().into_iter().map(|(_, number)| number).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
