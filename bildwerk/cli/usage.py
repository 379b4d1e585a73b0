"""What a person reads whose command line could not be understood."""

from cyclopts.exceptions import CycloptsError, MissingArgumentError, UnusedCliTokensError


def usage_sentence(error: CycloptsError) -> str:
    """One sentence, as the parser has it where that is plain enough."""
    command = " ".join(["bildwerk", *(error.command_chain or ())])
    match error:
        case UnusedCliTokensError():
            unused = " ".join(error.unused_tokens or ())
            return f"nothing takes {unused!r}: a text with spaces is one argument, in quotes"
        case MissingArgumentError(keyword=str(option)):
            return f"{option} needs a value after it; {command} --help says which"
        case MissingArgumentError(argument=argument) if argument is not None:
            lacking = argument.name.lstrip("-").upper()
            return f"{command} needs {article(lacking)} {lacking} after it; {command} --help says which"
        case _:
            return " ".join(str(error).split())


def article(noun: str) -> str:
    return "an" if noun[0] in "AEIO" else "a"
