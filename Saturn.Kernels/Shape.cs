using System.Runtime.CompilerServices;

namespace Saturn.Kernels;

/// <summary>
/// The extents of a tensor, outermost first, at most six of them. Images are NHWC: batch, height, width, channels.
/// The last dimension is the channel dimension: in memory it takes <see cref="Pitch"/> elements, its extent rounded up to a
/// multiple of eight, and the padding is exactly zero. All other dimensions are packed. A scalar has rank 0 and one element.
/// </summary>
public readonly struct Shape : IEquatable<Shape>
{
    /// <summary>The largest rank a tensor can have.</summary>
    public const int MaximumRank = 6;

    /// <summary>The channel pitch is a multiple of this many elements, so that 16-byte loads are always legal.</summary>
    public const int PitchGranularity = 8;

    [InlineArray(MaximumRank)]
    private struct Extents
    {
        private int first;
    }

    private readonly Extents extents;

    /// <summary>The number of dimensions, 0 to <see cref="MaximumRank"/>.</summary>
    public int Rank { get; }

    /// <summary>Creates a shape from its extents, outermost first; each must be at least 1.</summary>
    /// <exception cref="ArgumentException">More than six extents, or an extent below 1.</exception>
    public Shape(params ReadOnlySpan<int> extents)
    {
        if (extents.Length > MaximumRank)
        {
            throw new ArgumentException($"A shape has at most {MaximumRank} dimensions, but {extents.Length} were given.", nameof(extents));
        }

        for (int i = 0; i < extents.Length; i++)
        {
            if (extents[i] < 1)
            {
                throw new ArgumentException($"Dimension {i} of a shape must be at least 1, but is {extents[i]}.", nameof(extents));
            }

            this.extents[i] = extents[i];
        }

        Rank = extents.Length;
    }

    /// <summary>The extent of one dimension; negative indices count from the end, so <c>shape[-1]</c> is the channel count.</summary>
    public int this[int dimension]
    {
        get
        {
            int index = dimension < 0 ? dimension + Rank : dimension;
            if ((uint)index >= (uint)Rank)
            {
                throw new ArgumentOutOfRangeException(nameof(dimension), $"Shape {this} has no dimension {dimension}.");
            }

            return extents[index];
        }
    }

    /// <summary>The extent of the last dimension; 1 for a scalar.</summary>
    public int Channels => Rank == 0 ? 1 : extents[Rank - 1];

    /// <summary>The product of all extents but the last; 1 for scalars and vectors.</summary>
    public int Rows
    {
        get
        {
            int rows = 1;
            for (int i = 0; i < Rank - 1; i++)
            {
                rows = checked(rows * extents[i]);
            }

            return rows;
        }
    }

    /// <summary>The elements from one row to the next: <see cref="Channels"/> rounded up to a multiple of eight.</summary>
    public int Pitch => PitchOf(Channels);

    /// <summary>The number of elements, padding not counted.</summary>
    public long ElementCount => (long)Rows * Channels;

    /// <summary>The number of stored elements, padding included: <c>Rows · Pitch</c>.</summary>
    public long StorageCount => (long)Rows * Pitch;

    /// <summary>Rounds a channel count up to the storage pitch.</summary>
    public static int PitchOf(int channels) => (channels + PitchGranularity - 1) & -PitchGranularity;

    /// <summary>The same shape with another extent in one dimension.</summary>
    public Shape With(int dimension, int extent)
    {
        Span<int> copy = stackalloc int[MaximumRank];
        CopyTo(copy);
        copy[dimension < 0 ? dimension + Rank : dimension] = extent;
        return new Shape(copy[..Rank]);
    }

    /// <summary>Writes the extents into a span of at least <see cref="Rank"/> elements.</summary>
    public void CopyTo(Span<int> destination)
    {
        for (int i = 0; i < Rank; i++)
        {
            destination[i] = extents[i];
        }
    }

    /// <summary>The extents as an array.</summary>
    public int[] ToArray()
    {
        int[] array = new int[Rank];
        CopyTo(array);
        return array;
    }

    /// <summary>
    /// The common shape of two operands under the usual broadcasting rule: aligned at the last dimension, extents equal or one of them 1.
    /// </summary>
    /// <exception cref="ArgumentException">Two extents differ and neither is 1.</exception>
    public static Shape Broadcast(in Shape left, in Shape right)
    {
        int rank = Math.Max(left.Rank, right.Rank);
        Span<int> result = stackalloc int[MaximumRank];
        for (int i = 1; i <= rank; i++)
        {
            int a = i <= left.Rank ? left[-i] : 1;
            int b = i <= right.Rank ? right[-i] : 1;
            if (a != b && a != 1 && b != 1)
            {
                throw new ArgumentException($"Shapes {left} and {right} cannot be broadcast together: dimension -{i} is {a} and {b}.");
            }

            result[rank - i] = Math.Max(a, b);
        }

        return new Shape(result[..rank]);
    }

    /// <inheritdoc/>
    public bool Equals(Shape other)
    {
        if (Rank != other.Rank)
        {
            return false;
        }

        for (int i = 0; i < Rank; i++)
        {
            if (extents[i] != other.extents[i])
            {
                return false;
            }
        }

        return true;
    }

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Shape other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        int hash = Rank;
        for (int i = 0; i < Rank; i++)
        {
            hash = HashCode.Combine(hash, extents[i]);
        }

        return hash;
    }

    /// <summary>Equal rank and equal extents.</summary>
    public static bool operator ==(Shape left, Shape right) => left.Equals(right);

    /// <summary>Different rank or different extents.</summary>
    public static bool operator !=(Shape left, Shape right) => !left.Equals(right);

    /// <summary>The extents in brackets, as in <c>[128, 32, 32, 64]</c>.</summary>
    public override string ToString() => "[" + string.Join(", ", ToArray()) + "]";
}
