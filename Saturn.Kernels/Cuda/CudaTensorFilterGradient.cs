using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>Filter gradients of <c>kernels/convolution_filter_tensor.cu</c>: bf16 operands, or float32 ones rounded to tf32, by the type of the input.</summary>
internal sealed class CudaTensorFilterGradient
{
    private const int Threads = 128;
    private const int SharedBytesPerElement = 256;

    // By tile.
    private readonly CudaKernel<FilterGradientArguments>[] bf16;
    private readonly CudaKernel<FilterGradientArguments>[] tf32;

    public CudaTensorFilterGradient(CudaContext context)
    {
        CudaModule module = context.Module(KernelSource.BuiltIn("convolution_filter_tensor.cu", typeof(FilterGradientArguments)));
        bf16 = Kernels("filterGradientBf16_");
        tf32 = Kernels("filterGradientTf32_");

        CudaKernel<FilterGradientArguments>[] Kernels(string name) =>
            [.. FilterGradientPlan.Tiles.Select(tile => module.Kernel<FilterGradientArguments>($"{name}{tile.Rows}x{tile.Columns}", SharedBytes(tile)))];
    }

    /// <summary>Leaves the parts of ∂w, each laid out as the weight with zero padding, one after the other.</summary>
    /// <param name="plan">The division, <see cref="FilterGradientPlan.Of"/>.</param>
    /// <param name="arguments">Sizes and operands; depth, pixels and tiles are filled in here.</param>
    /// <param name="shape">The convolution.</param>
    /// <param name="type">What x and ∂y are.</param>
    /// <param name="parts">Room for the plan's splits of the weight's size.</param>
    public void Launch(in FilterGradientPlan plan, FilterGradientArguments arguments, in ConvolutionShape shape, ElementType type, DeviceBuffer parts)
    {
        CudaTile tile = FilterGradientPlan.Tiles[plan.Tile];
        arguments.Partials = parts.Address;
        arguments.Depth = Shape.PitchOf(shape.GroupInputChannels);
        arguments.Pixels = shape.Output.Rows;
        arguments.PixelsPerSplit = plan.PixelsPerSplit;
        int columns = shape.KernelHeight * shape.KernelWidth * arguments.Depth;
        arguments.ColumnTiles = tile.Across(columns);
        CudaKernel<FilterGradientArguments> kernel = (type == ElementType.BFloat16 ? bf16 : tf32)[plan.Tile];
        uint tiles = checked((uint)tile.Count(shape.GroupOutputChannels, columns));
        kernel.Launch(arguments, new LaunchGeometry(tiles, (uint)plan.Splits, (uint)shape.Groups, Threads, SharedBytes: (uint)SharedBytes(tile)));
    }

    private static int SharedBytes(CudaTile tile) => SharedBytesPerElement * (tile.Rows + tile.Columns);
}
