using System.Runtime.Intrinsics;
using Saturn.Kernels.Cuda;

namespace Saturn.Emulator.Execution.Operations;

/// <summary>A product of a warpgroup that was issued and not waited for.</summary>
internal readonly unsafe struct PendingProduct(int group, Instruction* instruction, ulong a, ulong b, bool adds, HeldSums sums)
{
    public int Group => group;

    public Instruction* Instruction => instruction;

    public ulong A => a;

    public ulong B => b;

    /// <summary>Whether the product is added to the sums instead of replacing them.</summary>
    public bool Adds => adds;

    public HeldSums Sums => sums;
}

/// <summary>Sums that pending products compute: their registers hold a mark as long, so that who reads them too early gets no number.</summary>
internal sealed unsafe class HeldSums
{
    public int* Registers;

    public int Count;

    public float[] Values = [];

    public int Products;
}

/// <summary>
/// wgmma: products of a warpgroup from shared memory, computed as late as the program allows, when their group is waited for, so that a missing wait and an operand that is overwritten too early
/// show. Each of the four warps computes its 16 rows of the 64. Count is columns / 8; Registers are the sums; A and B the descriptors; Source the predicate that adds (−1: Immediate).
/// </summary>
internal static unsafe class WarpgroupHandlers
{
    public const byte TransposedA = 1;
    public const byte TransposedB = 2;
    public const byte NegatedA = 4;
    public const byte NegatedB = 8;
    public const byte Half = 16;

    private const int Depth = 16;
    private const int WarpRows = 16;
    private const int MostColumns = 256;
    private const int PieceElements = 8;

    // A quiet NaN that no arithmetic makes.
    private const uint Mark = 0x7FFFDEAD;

    /// <summary>wgmma.mma_async</summary>
    public static void Issue(Warp warp, Instruction* instruction, uint mask)
    {
        if (mask != Lanes.All)
        {
            throw warp.Fail(instruction, ~mask, "must be executed by all 32 lanes together");
        }

        if ((warp.Index | 3) >= warp.Block.WarpCount)
        {
            throw warp.Fail(instruction, mask, "must be executed by a whole warpgroup: four warps, the first with a number divisible by four");
        }

        ulong a = Uniform(warp, instruction, instruction->A);
        ulong b = Uniform(warp, instruction, instruction->B);
        bool adds = instruction->Immediate != 0;
        if (instruction->Source >= 0)
        {
            uint votes = warp.Predicates[instruction->Source] ^ instruction->SourceInvert;
            adds = votes == Lanes.All || (votes == 0 ? false : throw warp.Fail(instruction, votes, "adds in some lanes and not in others"));
        }

        HeldSums sums = Hold(warp, instruction);
        sums.Products++;
        warp.Products.Add(new PendingProduct(warp.ProductGroup, instruction, a, b, adds, sums));
        warp.ProductHash = HashCode.Combine(warp.ProductHash, a, b, adds, (nint)instruction);
    }

    /// <summary>wgmma.commit_group</summary>
    public static void Commit(Warp warp, Instruction* instruction, uint mask) => warp.ProductGroup++;

    /// <summary>wgmma.wait_group N: all but the N youngest groups are computed.</summary>
    public static void Wait(Warp warp, Instruction* instruction, uint mask)
    {
        int before = warp.ProductGroup - (int)instruction->Immediate;
        int done = 0;
        foreach (PendingProduct product in warp.Products)
        {
            if (product.Group >= before)
            {
                break;
            }

            Compute(warp, product);
            done++;
        }

        warp.Products.RemoveRange(0, done);
    }

    // The registers' values move aside; a product that goes on with the same sums finds them there.
    private static HeldSums Hold(Warp warp, Instruction* instruction)
    {
        int count = 4 * instruction->Count;
        foreach (HeldSums held in warp.Held)
        {
            if (held.Registers[0] == instruction->Registers[0] && held.Count == count)
            {
                if (!new Span<int>(held.Registers, count).SequenceEqual(new Span<int>(instruction->Registers, count)))
                {
                    throw warp.Fail(instruction, Lanes.All, "has sums in other registers than a pending product that begins with the same one");
                }

                return held;
            }
        }

        HeldSums sums = new() { Registers = instruction->Registers, Count = count, Values = new float[count * Lanes.Count] };
        for (int i = 0; i < count; i++)
        {
            byte* register = warp.Registers + instruction->Registers[i];
            new Span<float>(register, Lanes.Count).CopyTo(sums.Values.AsSpan(i * Lanes.Count));
            Lanes.Fill(register, Mark);
        }

        warp.Held.Add(sums);
        return sums;
    }

    private static void Compute(Warp warp, in PendingProduct product)
    {
        Instruction* instruction = product.Instruction;
        int columns = PieceElements * instruction->Count;
        double* a = stackalloc double[WarpRows * Depth];
        double* b = stackalloc double[Depth * MostColumns];
        double* sums = stackalloc double[MostColumns];
        byte mode = instruction->Mode;
        int first = warp.Index % 4 * WarpRows;
        Operand(warp, instruction, product.A, (mode & TransposedA) != 0, first, WarpRows, a, Depth, 1);
        Operand(warp, instruction, product.B, (mode & TransposedB) != 0, 0, columns, b, 1, columns);
        double sign = ((mode & NegatedA) != 0) != ((mode & NegatedB) != 0) ? -1 : 1;
        float[] values = product.Sums.Values;
        for (int row = 0; row < WarpRows; row++)
        {
            // Lane 4·(row % 8) + m holds columns 8·j + 2·m + e in register 4·j + 2·(row / 8) + e.
            for (int column = 0; column < columns; column++)
            {
                sums[column] = product.Adds ? values[Place(row, column)] : 0;
            }

            for (int k = 0; k < Depth; k++)
            {
                Vector512<double> factor = Vector512.Create(sign * a[row * Depth + k]);
                for (int column = 0; column < columns; column += PieceElements)
                {
                    (Vector512.Load(sums + column) + factor * Vector512.Load(b + k * columns + column)).Store(sums + column);
                }
            }

            for (int column = 0; column < columns; column++)
            {
                values[Place(row, column)] = (float)sums[column];
            }
        }

        if (--product.Sums.Products == 0)
        {
            Release(warp, instruction, product.Sums);
        }
    }

    private static int Place(int row, int column) => (column / 8 * 4 + row / 8 * 2 + (column & 1)) * Lanes.Count + row % 8 * 4 + column % 8 / 2;

    private static void Release(Warp warp, Instruction* instruction, HeldSums sums)
    {
        for (int i = 0; i < sums.Count; i++)
        {
            Span<uint> register = new(warp.Registers + sums.Registers[i], Lanes.Count);
            if (warp.Block.IsChecked && register.IndexOfAnyExcept(Mark) is int lane and >= 0)
            {
                throw warp.Fail(instruction, 1u << lane, $"had its sum number {i} written by another instruction before it was waited for");
            }

            System.Runtime.InteropServices.MemoryMarshal.Cast<float, uint>(sums.Values.AsSpan(i * Lanes.Count, Lanes.Count)).CopyTo(register);
        }

        warp.Held.Remove(sums);
    }

    // Element (row, k) goes to into[row·rowStride + k·depthStride].
    private static void Operand(Warp warp, Instruction* instruction, ulong descriptor, bool transposed, int firstRow, int rows, double* into, int rowStride, int depthStride)
    {
        uint start = (uint)(descriptor & 0x3FFF) << 4;
        uint leading = (uint)(descriptor >> 16 & 0x3FFF) << 4;
        uint stride = (uint)(descriptor >> 32 & 0x3FFF) << 4;
        TensorMapSwizzle swizzle = (descriptor >> 62) switch
        {
            1 => TensorMapSwizzle.Bytes128,
            2 => TensorMapSwizzle.Bytes64,
            3 => TensorMapSwizzle.Bytes32,
            _ => TensorMapSwizzle.None,
        };
        uint span = 16u << (int)swizzle;
        if ((descriptor >> 49 & 7) != 0)
        {
            throw warp.Fail(instruction, Lanes.All, "has a matrix descriptor with a base offset, which the emulator does not cover: begin swizzled tiles at multiples of 1024 bytes");
        }

        SharedMemory shared = warp.Block.Shared;
        int outer = transposed ? Depth : rows;
        int inner = (transposed ? rows : Depth) / PieceElements;
        for (int i = 0; i < outer; i++)
        {
            for (int j = 0; j < inner; j++)
            {
                // The piece's place along the dimension that lies side by side, in pieces, and across it.
                uint along = (uint)(transposed ? firstRow / PieceElements + j : j);
                uint across = (uint)(transposed ? i : firstRow + i);
                uint offset = (transposed, swizzle) switch
                {
                    (false, TensorMapSwizzle.None) => across / 8 * stride + across % 8 * 16 + along * leading,
                    (false, _) => across / 8 * stride + across % 8 * span + along * 16,
                    (true, TensorMapSwizzle.None) => along * stride + across % 8 * 16 + across / 8 * leading,
                    (true, _) => along * 16 / span * leading + along * 16 % span + across % 8 * span + across / 8 * stride,
                };
                uint place = BulkCopies.Swizzle(start + offset, swizzle);
                if (place + 16 > shared.Length)
                {
                    throw warp.Fail(instruction, Lanes.All, $"reads out of bounds: offset {place} of {shared.Length} bytes of shared memory");
                }

                if (shared.ReadByProduct(place, warp.Index) is string wrong)
                {
                    throw warp.Fail(instruction, Lanes.All, wrong);
                }

                ushort* piece = (ushort*)(shared.Data + place);
                double* destination = transposed ? into + j * PieceElements * rowStride + i * depthStride : into + i * rowStride + j * PieceElements * depthStride;
                int step = transposed ? rowStride : depthStride;
                for (int element = 0; element < PieceElements; element++)
                {
                    destination[element * step] = (instruction->Mode & Half) != 0 ? (double)BitConverter.UInt16BitsToHalf(piece[element]) : BrainFloat.ToSingle(piece[element]);
                }
            }
        }
    }

    private static ulong Uniform(Warp warp, Instruction* instruction, int register)
    {
        ReadOnlySpan<ulong> values = new(warp.Registers + register, Lanes.Count);
        return values.IndexOfAnyExcept(values[0]) is int lane and >= 0
            ? throw warp.Fail(instruction, 1u << lane, "has a matrix descriptor that differs between lanes")
            : values[0];
    }
}
