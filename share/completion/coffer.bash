# Completion of coffer and coffer-vault for bash: it asks the programs for their commands and options, so it
# always fits the installed version.

_coffer()
{
    local program=$1 current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= word words
    COMPREPLY=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
            -*) ;;
            *) if [[ " $("$program" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p' | tr '\n' ' ')" == *" $word "* ]]
               then command=$word; break; fi ;;
        esac
    done

    # What may follow an option: the choices that help names; otherwise a file.
    if [[ $previous == --* && $previous != *=* ]]; then
        word=$("$program" ${command:+"$command"} --help 2>/dev/null |
            sed -n "s/^ \{2,\}\(-[A-Za-z], \)\{0,1\}$previous \([^ ]*\).*/\2/p" | head -n 1)
        case $word in
            *[a-z]\|*) mapfile -t COMPREPLY < <(compgen -W "${word//|/ }" -- "$current"); return ;;
            [A-Zh]*) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        esac
    fi

    if [[ $current == -* ]]; then
        words=$("$program" ${command:+"$command"} --help 2>/dev/null | sed -n 's/^ *\(-[A-Za-z], \)\{0,1\}\(--[a-z-]*\).*/\2/p')
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    elif [[ -z $command ]]; then
        words=$("$program" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p')
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -F _coffer coffer coffer-vault
