#!/bin/sh
# Sum by key in the shell alone: lines come sorted by key.
tab=$(printf '\t')
before='' sum=''
while IFS="$tab" read -r key number; do
    if [ -n "$sum" ] && [ "$key" != "$before" ]; then
        printf '%s\t%s\n' "$before" "$sum"
        sum=''
    fi
    before=$key
    sum=$((${sum:-0} + number))
done
if [ -n "$sum" ]; then printf '%s\t%s\n' "$before" "$sum"; fi
