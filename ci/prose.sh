#!/usr/bin/env bash
# Checks that comments and pages name the actor and stay short. A sentence must not use a relative
# pronoun for a person, begin with a stand-in for a noun, or have over 35 words. Checks the given
# files, or the whole tree. `--count` prints the figures of each file and judges nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.bash"

count=0
if [[ ${1-} == --count ]]; then
    count=1
    shift
fi
files=("$@")
if ((${#files[@]} == 0)); then
    mapfile -t files < <(git ls-files -- '*.md' '*.rs' '*.sh' '*.bash' '.ci/run')
fi

# A paragraph is a run of comment lines or of lines of a page. Snippets of code, tables, link
# definitions and headings end a paragraph. Snippets and link definitions are not prose.
COUNT=$count perl - "${files[@]}" <<'PERL'
use strict;
use warnings;

my $most_words = 35;
my $stand_in   = qr/^(?:Who|Whoever|What|That one|Those who|As there|As above)\b/;
my $pronoun    = qr/\b(?:who|whoever|as there|as above)\b/i;

my ($bad, %total) = (0);

sub complain {
    my ($place, $rule, $text) = @_;
    $text = substr($text, 0, 97) . '...' if length $text > 100;
    print "$place: $rule: $text\n" unless $ENV{COUNT};
    $bad++;
}

# Judges one paragraph, and adds its figures to the figures of the file.
sub judge {
    my ($place, $paragraph, $figures) = @_;
    my $text = $paragraph;
    $text =~ s/`[^`]*`/CODE/g;                # code is one word
    $text =~ s/\]\([^)]*\)|\]\[[^\]]*\]/]/g;  # the target of a link is not text
    $text =~ s/[*_\[\]]//g;
    $text =~ s/\b(?:e\.g|i\.e|vs|cf|etc)\./abbreviation/g;
    for my $sentence (split /(?<=[.!?])["')]*\s+|:\s+(?=[A-Z])|\s*\n/, $text) {
        my @words = $sentence =~ /[\w'’.,-]*\w[\w'’.,-]*/g;
        next unless @words;
        $figures->{words} += @words;
        $figures->{sentences}++;
        $figures->{it} += () = $sentence =~ /\bit\b/gi;
        $figures->{who} += () = $sentence =~ /\bwho(?:ever)?\b/gi;
        complain($place, 'names no actor', $sentence)
            if $sentence =~ $stand_in || $sentence =~ $pronoun;
        if (@words > $most_words) {
            $figures->{long}++;
            complain($place, @words . ' words in a sentence', $sentence);
        }
    }
}

for my $file (@ARGV) {
    open my $lines, '<', $file or die "$file: $!";
    my $page   = $file =~ /\.md$/;
    my $marker = $file =~ /\.rs$/ ? qr{^\s*//[/!]?\s?(.*)} : qr{^\s*\#(?!!)\s?(.*)};
    my ($paragraph, $start, $fenced, %figures) = ('', 0, 0);
    @figures{qw(words sentences it who long)} = (0) x 5;
    my $end = sub {
        judge("$file:$start", $paragraph, \%figures) if $paragraph ne '';
        $paragraph = '';
    };
    while (my $line = <$lines>) {
        chomp $line;
        my $text = $line;
        if (!$page) {
            if ($line =~ $marker) { $text = $1 }
            elsif ($file =~ /\.rs$/ && $line =~ m{[;,{})\]]\s+//\s(.*)}) {
                $end->();
                judge("$file:$.", $1, \%figures);
                next;
            }
            else { $fenced = 0; $end->(); next }
        }
        if ($text =~ /^\s*```/) { $fenced = !$fenced; $end->(); next }
        # Comments in a snippet are prose too.
        if ($fenced) {
            judge("$file:$.", $1, \%figures) if $text =~ m{(?:^|\s)//[/!]?\s(.*)};
            next;
        }
        if ($text =~ /^\s*$/ || $text =~ /^\s*\[[^\]]+\]:\s/) { $end->(); next }
        if ($text =~ /^\s*\|/) {
            $end->();
            judge("$file:$.", $_, \%figures) for grep { /\w/ } split /\|/, $text;
            next;
        }
        $end->() if $text =~ /^\s*(?:[-*+]|\d+\.|#+)\s/;
        $start = $. if $paragraph eq '';
        $text =~ s/^\s*(?:[-*+]|\d+\.|#+|>)\s+//;
        $text =~ s/^\s+//;
        $paragraph .= ($paragraph eq '' ? '' : ' ') . $text;
        $end->() if $line =~ /^#+\s/ && $page;
    }
    $end->();
    $total{$_} += $figures{$_} for keys %figures;
    printf "%-40s %6d words, %3d who, %4d it (%4.1f in 1,000), %3d of %4d sentences too long\n",
        $file, @figures{qw(words who it)}, $figures{words} ? 1000 * $figures{it} / $figures{words} : 0,
        @figures{qw(long sentences)}
        if $ENV{COUNT};
}
printf "%d words: \"who\" %.2f and \"it\" %.1f times in 1,000, %.2f of 100 sentences over %d words\n",
    $total{words}, 1000 * $total{who} / $total{words}, 1000 * $total{it} / $total{words},
    100 * $total{long} / $total{sentences}, $most_words;
exit($bad > 0 && !$ENV{COUNT});
PERL
