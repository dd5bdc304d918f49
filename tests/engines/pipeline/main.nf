// SPDX-License-Identifier: Apache-2.0
// What real pipelines ask of a container, in few tasks: three processes for each of three samples.

params.where = 'echo'
params.results = 'results'

workflow {
    samples = Channel.fromPath("${params.samples}/*.txt").map { file -> [file.baseName, file] }
    SPLIT(samples, file("${params.samples}/short words"))
    COUNT(SPLIT.out, 'least: 2')
    REPORT(COUNT.out)
    FAILS()
}

// Files and a directory with blanks in their names, a program of the pipeline's own, a secret,
// processors and memory.
process SPLIT {
    tag "$sample"
    cpus 2
    memory '300 MB'
    secret 'WORD'
    publishDir "${params.results}/splits", mode: 'copy'

    input:
    tuple val(sample), path(text)
    path dropped

    output:
    tuple val(sample), path("words of ${sample}")

    script:
    """
    mkdir "words of ${sample}"
    { split-words $text; printf '%s\\n' "\$WORD"; } | grep -vxFf $dropped/list > "words of ${sample}/all"
    """
}

// An environment variable with a blank.
process COUNT {
    tag "$sample"

    input:
    tuple val(sample), path(words)
    env 'LIMIT'

    output:
    tuple val(sample), path('counts'), stdout

    script:
    """
    sort $words/all | uniq -c | awk -v least="\${LIMIT##* }" '\$1 >= least { print \$2, \$1 }' > counts
    echo "\$(wc -l < counts) of ${sample}"
    """
}

// Standard input. Where the task was, as far as it can tell.
process REPORT {
    tag "$sample"
    publishDir "${params.results}/reports", mode: 'copy', pattern: '*.report'
    publishDir "${params.results}-where", mode: 'copy', pattern: '*.where'

    input:
    tuple val(sample), path(counts), stdin

    output:
    path "${sample}.report"
    path "${sample}.where"

    script:
    """
    { cat; cat counts; } > "${sample}.report"
    { $params.where; } > "${sample}.where"
    """
}

process FAILS {
    errorStrategy 'ignore'

    script:
    'exit 3'
}
