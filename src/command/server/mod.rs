//! INFO, CONFIG, COMMAND and other commands of the whole server.

mod access;
mod command_docs;
mod command_facts;
mod command_info;
mod command_list;
mod config;
mod info;
mod life;
mod memory;
mod parameters;
mod series_parameters;
mod syntax;

use crate::resp::{Args, Reply};

use super::entry::entry;
use super::session::{SessionContext, SessionStop};
use super::subcommand::{Subcommand, dispatch};
use super::{Command, Flags, KeySpec};

/// Subcommands of ACL.
pub const ACL: &[Subcommand] = access::ACL;
/// Subcommands of COMMAND.
pub const COMMAND: &[Subcommand] = command_list::SUBCOMMANDS;
/// Subcommands of CONFIG.
pub const CONFIG: &[Subcommand] = config::SUBCOMMANDS;
/// Subcommands of DEBUG.
pub const DEBUG: &[Subcommand] = life::DEBUG;
/// Subcommands of FUNCTION.
pub const FUNCTION: &[Subcommand] = access::FUNCTION;
/// Subcommands of MEMORY.
pub const MEMORY: &[Subcommand] = memory::MEMORY;
/// Subcommands of MODULE.
pub const MODULE: &[Subcommand] = access::MODULE;

const ADMIN: Flags = Flags::ADMIN;
const ADMIN_ALONE: Flags = Flags::ADMIN.and(Flags::NO_MULTI);

/// The family's table.
pub const COMMANDS: &[Command] = &[
    entry("ACL", -2, Flags::NONE, |context, args, reply| {
        dispatch(ACL, context, args, reply)
    })
    .of_group("server")
    .says("6.0.0", "", "A container for Access List Control commands."),
    entry("BGREWRITEAOF", 1, ADMIN_ALONE, life::rewrite_journal)
        .of_group("server")
        .says(
            "1.0.0",
            "",
            "Asynchronously rewrites the append-only file to disk; here checkpoints shorten the journal by \
         themselves.",
        ),
    entry("BGSAVE", -1, ADMIN_ALONE, life::save_in_background)
        .of_group("server")
        .says(
            "1.0.0",
            "[SCHEDULE]",
            "Asynchronously makes a checkpoint of every partition.",
        ),
    entry("COMMAND", -1, Flags::NONE, command)
        .of_group("server")
        .says("2.8.13", "", "Returns detailed information about all commands."),
    entry("CONFIG", -2, Flags::NONE, |context, args, reply| {
        dispatch(CONFIG, context, args, reply)
    })
    .of_group("server")
    .says("2.0.0", "", "A container for server configuration commands."),
    entry("DEBUG", -2, ADMIN, life::debug).of_group("server").says(
        "1.0.0",
        "",
        "A container for debugging commands.",
    ),
    entry("FUNCTION", -2, Flags::NONE, |context, args, reply| {
        dispatch(FUNCTION, context, args, reply)
    })
    .of_group("scripting")
    .says("7.0.0", "", "A container for function commands."),
    entry("INFO", -1, Flags::NONE, info::info)
        .of_group("server")
        .says(
            "1.0.0",
            "[section [section ...]]",
            "Returns information and statistics about the server.",
        ),
    entry("LASTSAVE", 1, Flags::FAST, life::last_save)
        .of_group("server")
        .says(
            "1.0.0",
            "",
            "Returns the Unix timestamp of the last successful save to disk.",
        ),
    entry("LOLWUT", -1, Flags::READONLY.and(Flags::FAST), access::lolwut)
        .of_group("server")
        .says(
            "5.0.0",
            "[VERSION version]",
            "Displays the version that is announced.",
        ),
    Command {
        keys: KeySpec::SECOND,
        ..entry("MEMORY", -2, Flags::NONE, |context, args, reply| {
            dispatch(MEMORY, context, args, reply)
        })
        .of_group("server")
        .says("4.0.0", "", "A container for commands about memory.")
    },
    entry("MODULE", -2, Flags::NONE, |context, args, reply| {
        dispatch(MODULE, context, args, reply)
    })
    .of_group("server")
    .says("4.0.0", "", "A container for module commands."),
    entry("REPLICAOF", 3, Flags::ADMIN, access::replica_of)
        .of_group("server")
        .says(
            "5.0.0",
            "<host port | NO ONE>",
            "Accepts NO ONE: a server is always its own master.",
        ),
    entry("SLAVEOF", 3, Flags::ADMIN, access::replica_of)
        .of_group("server")
        .says(
            "1.0.0",
            "<host port | NO ONE>",
            "Accepts NO ONE: a server is always its own master.",
        ),
    entry("ROLE", 1, Flags::FAST, access::role)
        .of_group("server")
        .says("2.8.12", "", "Returns the replication role."),
    entry("SAVE", 1, ADMIN_ALONE, life::save).of_group("server").says(
        "1.0.0",
        "",
        "Synchronously makes a checkpoint of every partition.",
    ),
    entry("SHUTDOWN", -1, ADMIN_ALONE, life::shutdown)
        .of_group("server")
        .says(
            "1.0.0",
            "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
            "Synchronously saves the database(s) to disk and shuts down the server.",
        ),
    entry("WAIT", 3, Flags::NONE, access::wait)
        .of_group("generic")
        .says(
            "3.0.0",
            "numreplicas timeout",
            "Returns the number of replicas that have acknowledged preceding writes: none, as there are no \
         replicas.",
        ),
];

fn command(context: &mut SessionContext<'_>, args: Args<'_>, reply: &mut Reply) -> Result<(), SessionStop> {
    if args.len() == 1 {
        command_info::write_all(&context.shared.commands, reply);
        return Ok(());
    }
    dispatch(COMMAND, context, args, reply)
}
