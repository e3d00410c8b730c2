namespace Saturn.Kernels.Families;

/// <summary>
/// One gather of rows and columns of a 4-byte-element array: destination[o, m, i] = source[rowIndex[o], m, columnIndex[i]], source
/// [sourceRows, middle, sourceColumns], destination [rows, middle, columns], both with pitched last dimensions. Bits are moved, never changed.
/// </summary>
/// <param name="Source">The array before.</param>
/// <param name="Destination">The array after, another buffer; its padding is written as zero.</param>
/// <param name="Rows">Rows kept.</param>
/// <param name="Middle">Elements between rows and columns: the taps of a filter, else 1.</param>
/// <param name="Columns">Columns kept.</param>
/// <param name="SourceRows">Rows before.</param>
/// <param name="SourceColumns">Columns before.</param>
/// <param name="RowIndex">int32, one a kept row; None keeps all rows.</param>
/// <param name="ColumnIndex">int32, one a kept column; None keeps all columns.</param>
public readonly record struct GatherJob(
    DeviceBuffer Source, DeviceBuffer Destination, int Rows, int Middle, int Columns, int SourceRows, int SourceColumns, DeviceBuffer RowIndex, DeviceBuffer ColumnIndex);

/// <summary>Physical compaction.</summary>
public interface ICompactionKernels
{
    /// <summary>Performs all gathers in one launch; they must not overlap.</summary>
    void Gather(ReadOnlySpan<GatherJob> jobs);
}
