# Completion of coffer and coffer-vault for bash: it asks the programs for their commands and options, so it
# always fits the installed version.

_coffer_commands() # PROGRAM [COMMAND]: what help lists
{
    "$@" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\) .*/\1/p'
}

_coffer()
{
    local program=$1 current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words word
    local -a command=() listed
    COMPREPLY=()
    mapfile -t listed < <(_coffer_commands "$program")
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $word != -* && " ${listed[*]} " == *" $word "* ]]; then
            command+=("$word")
            mapfile -t listed < <(_coffer_commands "$program" "${command[@]}") # of a group; else none
        fi
    done

    # What may follow an option: the choices that help names; otherwise a file.
    if [[ $previous == --* && $previous != *=* ]]; then
        word=$("$program" "${command[@]}" --help 2>/dev/null |
            sed -n "s/^ \{2,\}\(-[A-Za-z], \)\{0,1\}$previous \([^ ]*\).*/\2/p" | head -n 1)
        case $word in
            *[a-z]\|*) mapfile -t COMPREPLY < <(compgen -W "${word//|/ }" -- "$current"); return ;;
            [A-Zh]*) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
        esac
    fi

    if [[ $current == -* ]]; then
        words=$("$program" "${command[@]}" --help 2>/dev/null | sed -n 's/^ *\(-[A-Za-z], \)\{0,1\}\(--[a-z-]*\).*/\2/p')
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    elif [[ ${#listed[@]} -gt 0 ]]; then
        mapfile -t COMPREPLY < <(compgen -W "${listed[*]}" -- "$current")
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -F _coffer coffer cofferd coffer-vault
