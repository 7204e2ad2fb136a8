//! The options of iptables itself, as a table (`original_opts`, iptables/iptables.c; `IPT_OPTSTRING`,
//! iptables/xshared.h).

/// An option of iptables itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Command(CommandOption),
    Rule(RuleOption),
    Setting(SettingOption),
}

/// Options that select the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandOption {
    Append,
    Check,
    Delete,
    DeleteChain,
    Flush,
    Insert,
    List,
    ListRules,
    NewChain,
    Policy,
    Rename,
    Replace,
    Zero,
}

/// Parts that every rule can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuleOption {
    Destination,
    Fragment,
    Goto,
    InDevice,
    Jump,
    Match,
    OutDevice,
    Protocol,
    Source,
}

/// Options of the command as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SettingOption {
    Counters,
    Help,
    Ipv4,
    Ipv6,
    /// Print options of `-L`.
    Listing,
    Modprobe,
    Table,
    /// No effect on rules.
    Verbose,
    Version,
    /// Waits for the lock of another process.
    Wait,
}

/// The value of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    None,
    Required,
    /// Only in the same word.
    Attached,
}

/// Short and long name.
#[derive(Clone, Copy, Debug)]
pub(super) struct BaseOption {
    pub(super) short: char,
    pub(super) long: &'static str,
    pub(super) base: Base,
    pub(super) argument: Argument,
}

const fn option(short: char, long: &'static str, base: Base, argument: Argument) -> BaseOption {
    BaseOption { short, long, base, argument }
}

/// Every option of iptables itself; `\0` stands for no short name.
pub(super) const OPTIONS: &[BaseOption] = &[
    option('A', "append", Base::Command(CommandOption::Append), Argument::Required),
    option('C', "check", Base::Command(CommandOption::Check), Argument::Required),
    option('D', "delete", Base::Command(CommandOption::Delete), Argument::Required),
    option('X', "delete-chain", Base::Command(CommandOption::DeleteChain), Argument::Attached),
    option('d', "destination", Base::Rule(RuleOption::Destination), Argument::Required),
    option('d', "dst", Base::Rule(RuleOption::Destination), Argument::Required),
    option('x', "exact", Base::Setting(SettingOption::Listing), Argument::None),
    option('F', "flush", Base::Command(CommandOption::Flush), Argument::Attached),
    option('f', "fragments", Base::Rule(RuleOption::Fragment), Argument::None),
    option('g', "goto", Base::Rule(RuleOption::Goto), Argument::Required),
    option('h', "help", Base::Setting(SettingOption::Help), Argument::Attached),
    option('i', "in-interface", Base::Rule(RuleOption::InDevice), Argument::Required),
    option('I', "insert", Base::Command(CommandOption::Insert), Argument::Required),
    option('4', "ipv4", Base::Setting(SettingOption::Ipv4), Argument::None),
    option('6', "ipv6", Base::Setting(SettingOption::Ipv6), Argument::None),
    option('j', "jump", Base::Rule(RuleOption::Jump), Argument::Required),
    option('\0', "line-numbers", Base::Setting(SettingOption::Listing), Argument::None),
    option('L', "list", Base::Command(CommandOption::List), Argument::Attached),
    option('S', "list-rules", Base::Command(CommandOption::ListRules), Argument::Attached),
    option('m', "match", Base::Rule(RuleOption::Match), Argument::Required),
    option('M', "modprobe", Base::Setting(SettingOption::Modprobe), Argument::Required),
    option('N', "new-chain", Base::Command(CommandOption::NewChain), Argument::Required),
    option('n', "numeric", Base::Setting(SettingOption::Listing), Argument::None),
    option('o', "out-interface", Base::Rule(RuleOption::OutDevice), Argument::Required),
    option('P', "policy", Base::Command(CommandOption::Policy), Argument::Required),
    option('p', "protocol", Base::Rule(RuleOption::Protocol), Argument::Required),
    option('E', "rename-chain", Base::Command(CommandOption::Rename), Argument::Required),
    option('R', "replace", Base::Command(CommandOption::Replace), Argument::Required),
    option('c', "set-counters", Base::Setting(SettingOption::Counters), Argument::Required),
    option('s', "source", Base::Rule(RuleOption::Source), Argument::Required),
    option('s', "src", Base::Rule(RuleOption::Source), Argument::Required),
    option('t', "table", Base::Setting(SettingOption::Table), Argument::Required),
    option('v', "verbose", Base::Setting(SettingOption::Verbose), Argument::None),
    option('V', "version", Base::Setting(SettingOption::Version), Argument::None),
    option('w', "wait", Base::Setting(SettingOption::Wait), Argument::Attached),
    option('W', "wait-interval", Base::Setting(SettingOption::Wait), Argument::Attached),
    option('Z', "zero", Base::Command(CommandOption::Zero), Argument::Attached),
];

impl BaseOption {
    /// The option with that letter.
    pub(super) fn by_letter(letter: char) -> Option<&'static Self> {
        OPTIONS.iter().find(|option| option.short == letter)
    }
}
