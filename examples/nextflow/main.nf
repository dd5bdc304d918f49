// SPDX-License-Identifier: Apache-2.0
// The alignment of ../workflows/align, for Nextflow: the same data and images.

params.data = "$projectDir/../workflows/align/data"
params.results = 'aligned'

process INDEX {
    container 'quay.io/biocontainers/bwa:0.7.17--hed695b0_7'

    input:
    path reference

    output:
    path 'index'

    script:
    """
    mkdir index
    bwa index -p index/reference $reference
    """
}

process ALIGN {
    tag "$sample"
    container 'quay.io/biocontainers/bwa:0.7.17--hed695b0_7'
    cpus 2
    memory '1 GB'

    input:
    tuple val(sample), path(reads)
    path index

    output:
    tuple val(sample), path("${sample}.sam")

    script:
    """
    bwa mem -t $task.cpus -R '@RG\\tID:${sample}\\tSM:${sample}' $index/reference $reads > ${sample}.sam
    """
}

process SORT {
    tag "$sample"
    container 'quay.io/biocontainers/samtools:1.16.1--h6899075_1'
    publishDir params.results, mode: 'copy'

    input:
    tuple val(sample), path(alignment)

    output:
    path "${sample}.*"

    script:
    """
    samtools sort -o ${sample}.bam $alignment
    samtools index ${sample}.bam
    samtools flagstat ${sample}.bam > ${sample}.flagstat.txt
    """
}

workflow {
    INDEX(file("$params.data/reference.fa"))
    ALIGN(Channel.fromFilePairs("$params.data/*_{1,2}.fastq.gz"), INDEX.out)
    SORT(ALIGN.out)
}
