using System.Numerics;

namespace Saturn.Emulator.Execution.Operations;

/// <summary>
/// Tensor-core instructions of compute capability 8.0. Fragments follow the PTX manual, section "Matrix Fragments for mma": group = lane/4, member = lane mod 4.
/// Products are exact in float32 or better and are summed in float64, rounded once: at least as accurate as the hardware, which truncates.
/// </summary>
internal static unsafe class MatrixHandlers
{
    /// <summary>ldmatrix: Count 8×8 matrices of 16-bit elements; lane 8·m + i names row i of matrix m. Predicate 1: transposed.</summary>
    public static void LoadMatrix(Warp warp, Instruction* instruction, uint mask)
    {
        if (mask != Lanes.All)
        {
            throw warp.Fail(instruction, ~mask, "must be executed by all 32 lanes together");
        }

        byte** rows = stackalloc byte*[8 * 4];
        for (int row = 0; row < 8 * instruction->Count; row++)
        {
            rows[row] = MemoryHandlers.Resolve(warp, instruction, row, 16, isStore: false);
        }

        for (int matrix = 0; matrix < instruction->Count; matrix++)
        {
            uint* destination = (uint*)(warp.Registers + instruction->Registers[matrix]);
            for (int lane = 0; lane < Lanes.Count; lane++)
            {
                int group = lane / 4;
                int member = lane % 4;
                destination[lane] = instruction->Predicate == 1
                    ? ((ushort*)rows[8 * matrix + 2 * member])[group] | (uint)((ushort*)rows[8 * matrix + 2 * member + 1])[group] << 16
                    : ((uint*)rows[8 * matrix + group])[member];
            }
        }
    }

    /// <summary>
    /// mma.sync m16n8kK, float32 accumulators: D = A·B + C with A row-major 16×K, B column-major K×8. Registers: D 4, A, B, C 4. Count is K; Mode the
    /// operands' type: 0 tf32, 1 bf16, 2 f16.
    /// </summary>
    public static void MultiplyAccumulate(Warp warp, Instruction* instruction, uint mask)
    {
        if (mask != Lanes.All)
        {
            throw warp.Fail(instruction, ~mask, "must be executed by all 32 lanes together");
        }

        int depth = instruction->Count;
        double* a = stackalloc double[16 * 16];
        double* b = stackalloc double[16 * 8];
        bool wide = instruction->Mode == 0;
        int aCount = wide ? 16 * depth / 32 : 16 * depth / 64;
        int bCount = wide ? 8 * depth / 32 : 8 * depth / 64;
        int* registers = instruction->Registers;
        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            int group = lane / 4;
            int member = lane % 4;
            for (int i = 0; i < aCount; i++)
            {
                uint bits = ((uint*)(warp.Registers + registers[4 + i]))[lane];
                int row = group + 8 * (i & 1);
                if (wide)
                {
                    a[row * depth + member + 4 * (i >> 1)] = TensorFloat(bits);
                }
                else
                {
                    int column = 2 * member + 8 * (i >> 1);
                    a[row * depth + column] = Half(bits & 0xFFFF, instruction->Mode);
                    a[row * depth + column + 1] = Half(bits >> 16, instruction->Mode);
                }
            }

            for (int i = 0; i < bCount; i++)
            {
                uint bits = ((uint*)(warp.Registers + registers[4 + aCount + i]))[lane];
                if (wide)
                {
                    b[(member + 4 * i) * 8 + group] = TensorFloat(bits);
                }
                else
                {
                    int row = 2 * member + 8 * i;
                    b[row * 8 + group] = Half(bits & 0xFFFF, instruction->Mode);
                    b[(row + 1) * 8 + group] = Half(bits >> 16, instruction->Mode);
                }
            }
        }

        for (int lane = 0; lane < Lanes.Count; lane++)
        {
            for (int i = 0; i < 4; i++)
            {
                int row = lane / 4 + 8 * (i >> 1);
                int column = 2 * (lane % 4) + (i & 1);
                double sum = ((float*)(warp.Registers + registers[4 + aCount + bCount + i]))[lane];
                for (int k = 0; k < depth; k++)
                {
                    sum += a[row * depth + k] * b[k * 8 + column];
                }

                ((float*)(warp.Registers + registers[i]))[lane] = (float)sum;
            }
        }
    }

    // The hardware reads the upper 19 bits of a tf32 operand.
    private static float TensorFloat(uint bits) => BitConverter.UInt32BitsToSingle(bits & 0xFFFFE000);

    private static float Half(uint bits, byte mode) => mode == 1 ? BrainFloat.ToSingle((ushort)bits) : (float)BitConverter.UInt16BitsToHalf((ushort)bits);
}

/// <summary>
/// cp.async: copies into shared memory that happen as late as the program allows, when their group is waited for, so that a missing wait shows. A is the
/// source's register, Destination the shared address's, B the number of bytes really read (−1: all), Size the bytes copied.
/// </summary>
internal static unsafe class AsynchronousHandlers
{
    public static void Copy(Warp warp, Instruction* instruction, uint mask)
    {
        byte* r = warp.Registers;
        int bytes = instruction->Size;
        uint ignored = instruction->Source < 0 ? 0 : warp.Predicates[instruction->Source] ^ instruction->SourceInvert;
        for (uint left = mask; left != 0; left &= left - 1)
        {
            int lane = BitOperations.TrailingZeroCount(left);
            ulong offset = (instruction->Mode & MemoryHandlers.WideData) != 0
                ? ((ulong*)(r + instruction->Destination))[lane]
                : ((uint*)(r + instruction->Destination))[lane];
            offset += (ulong)instruction->Target;
            if (offset + (ulong)bytes > (ulong)warp.Block.Shared.Length || offset % (ulong)bytes != 0)
            {
                throw warp.Fail(instruction, 1u << lane, $"is out of bounds or misaligned: {bytes} bytes at offset {offset} of {warp.Block.Shared.Length} bytes of shared memory");
            }

            int read = (ignored >> lane & 1) != 0 ? 0 : instruction->B < 0 ? bytes : (int)Math.Min(((uint*)(r + instruction->B))[lane], (uint)bytes);
            nint source = 0;
            if (read > 0)
            {
                warp.Block.CopiedBytes += read;
                source = (nint)MemoryHandlers.Resolve(warp, instruction, lane, read == bytes ? bytes : 1, isStore: false);
                if (read != bytes)
                {
                    warp.Block.Locate(warp, instruction, lane, source, read);
                }
            }

            warp.Copies.Add(new AsynchronousCopy(warp.CopyGroup, lane, (uint)offset, source, bytes, read, (nint)instruction));
        }
    }

    public static void Commit(Warp warp, Instruction* instruction, uint mask) => warp.CopyGroup++;

    /// <summary>cp.async.wait_group N: all but the N youngest groups have been copied; wait_all (Immediate −1): everything, open group included.</summary>
    public static void Wait(Warp warp, Instruction* instruction, uint mask)
    {
        int before = instruction->Immediate < 0 ? int.MaxValue : warp.CopyGroup - (int)instruction->Immediate;
        int kept = 0;
        for (int i = 0; i < warp.Copies.Count; i++)
        {
            AsynchronousCopy copy = warp.Copies[i];
            if (copy.Group >= before || (mask >> copy.Lane & 1) == 0)
            {
                warp.Copies[kept++] = copy;
                continue;
            }

            SharedMemory shared = warp.Block.Shared;
            if (warp.Block.IsChecked && shared.Write(copy.Destination, copy.Bytes, warp.Index) is string wrong)
            {
                throw warp.Fail((Instruction*)copy.Instruction, 1u << copy.Lane, wrong);
            }

            Span<byte> destination = new(shared.Data + copy.Destination, copy.Bytes);
            new Span<byte>((void*)copy.Source, copy.SourceBytes).CopyTo(destination);
            destination[copy.SourceBytes..].Clear();
        }

        warp.Copies.RemoveRange(kept, warp.Copies.Count - kept);
    }
}
