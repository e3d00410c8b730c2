using System.Numerics;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The kernels of <c>kernels/elementwise.cu</c> and <c>kernels/rearrangement.cu</c>.</summary>
internal sealed unsafe class CudaElementwise : IElementwiseKernels
{
    private const int RowsPerThread = 4;
    private const int OuterDimensions = Shape.MaximumRank - 1;

    private readonly CudaKernel<UnaryArguments> unary;
    private readonly CudaKernel<BinaryArguments> binary;
    private readonly TypedKernel<AccumulateArguments> accumulate;
    private readonly TypedKernel<FillArguments> fill;
    private readonly TypedKernel<MappedAddArguments> mappedAdd;
    private readonly CudaKernel<ConvertArguments> widen;
    private readonly CudaKernel<ConvertArguments> narrow;
    private readonly TypedKernel<CopyChannelsArguments> copyChannels;
    private readonly TypedKernel<ReshapeArguments> reshape;
    private readonly CudaKernel<ReshapeArguments> reshapeWiden;
    private readonly CudaKernel<ReshapeArguments> reshapeNarrow;
    private readonly TypedKernel<PermuteArguments> permute;

    public CudaElementwise(CudaContext context)
    {
        CudaModule elementwise = context.Module(KernelSource.BuiltIn(
            "elementwise.cu", typeof(UnaryArguments), typeof(BinaryArguments), typeof(AccumulateArguments), typeof(FillArguments), typeof(MappedAddArguments),
            typeof(ConvertArguments)));
        unary = elementwise.Kernel<UnaryArguments>("unary");
        binary = elementwise.Kernel<BinaryArguments>("binary");
        accumulate = new TypedKernel<AccumulateArguments>(elementwise, "accumulate");
        fill = new TypedKernel<FillArguments>(elementwise, "fill");
        mappedAdd = new TypedKernel<MappedAddArguments>(elementwise, "mappedAdd");
        widen = elementwise.Kernel<ConvertArguments>("widen");
        narrow = elementwise.Kernel<ConvertArguments>("narrow");
        CudaModule rearrangement = context.Module(KernelSource.BuiltIn(
            "rearrangement.cu", typeof(CopyChannelsArguments), typeof(ReshapeArguments), typeof(PermuteArguments)));
        copyChannels = new TypedKernel<CopyChannelsArguments>(rearrangement, "copyChannels");
        reshape = new TypedKernel<ReshapeArguments>(rearrangement, "reshape");
        reshapeWiden = rearrangement.Kernel<ReshapeArguments>("reshapeWiden");
        reshapeNarrow = rearrangement.Kernel<ReshapeArguments>("reshapeNarrow");
        permute = new TypedKernel<PermuteArguments>(rearrangement, "permute");
    }

    /// <inheritdoc/>
    public void Unary(UnaryOperation operation, in Shape shape, DeviceBuffer input, DeviceBuffer output, float a = 0, float b = 0)
    {
        ActivationType.RequireFloat32("elementwise.Unary", input, output);
        UnaryArguments arguments = new()
        {
            Input = input.Address,
            Output = output.Address,
            Rows = shape.Rows,
            Channels = shape.Channels,
            Pitch = shape.Pitch,
            Operation = (int)operation,
            A = a,
            B = b,
        };
        unary.Launch(arguments, Grid(shape, 4));
    }

    /// <inheritdoc/>
    public void Binary(
        BinaryOperation operation, in Shape leftShape, DeviceBuffer left, in Shape rightShape, DeviceBuffer right, in Shape outputShape, DeviceBuffer output)
    {
        ActivationType.RequireFloat32("elementwise.Binary", left, right, output);
        BinaryArguments arguments = new()
        {
            Left = OperandOf(leftShape, left, outputShape),
            Right = OperandOf(rightShape, right, outputShape),
            Output = output.Address,
            Rows = outputShape.Rows,
            Channels = outputShape.Channels,
            Pitch = outputShape.Pitch,
            Operation = (int)operation,
        };
        for (int i = 0; i < OuterDimensions; i++)
        {
            arguments.Extents[i] = i + 2 <= outputShape.Rank ? outputShape[-i - 2] : 1;
        }

        binary.Launch(arguments, Grid(outputShape, 4));
    }

    /// <inheritdoc/>
    public void Accumulate(in Shape shape, DeviceBuffer input, DeviceBuffer output, float scale = 1)
    {
        ActivationType type = ActivationType.Of("elementwise.Accumulate", input, output);
        accumulate.Launch(
            type, new AccumulateArguments { Input = input.Address, Output = output.Address, Rows = shape.Rows, Pitch = shape.Pitch, Scale = scale },
            Grid(shape, type.OwnedChannels));
    }

    /// <inheritdoc/>
    public void Fill(in Shape shape, DeviceBuffer output, float value)
    {
        ActivationType type = ActivationType.Of("elementwise.Fill", output);
        fill.Launch(
            type, new FillArguments { Output = output.Address, Rows = shape.Rows, Channels = shape.Channels, Pitch = shape.Pitch, Value = value },
            Grid(shape, type.OwnedChannels));
    }

    /// <inheritdoc/>
    public void Convert(in Shape shape, DeviceBuffer input, DeviceBuffer output, GradientMode mode)
    {
        bool widens = input.Type == ElementType.BFloat16;
        if ((input.Type, output.Type) is not ((ElementType.BFloat16, ElementType.Float32) or (ElementType.Float32, ElementType.BFloat16)))
        {
            throw new ArgumentException($"elementwise.Convert takes float32 to bfloat16 or back, but got {input.Type} to {output.Type}.");
        }

        ConvertArguments arguments = new()
        {
            Input = input.Address,
            Output = output.Address,
            Rows = shape.Rows,
            Pitch = shape.Pitch,
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        (widens ? widen : narrow).Launch(arguments, Grid(shape, new ActivationType(ElementType.BFloat16).OwnedChannels));
    }

    /// <inheritdoc/>
    public void MappedAdd(in Shape shape, DeviceBuffer branch, int shortcutChannels, DeviceBuffer shortcut, DeviceBuffer map, DeviceBuffer output)
    {
        ActivationType type = ActivationType.Of("elementwise.MappedAdd", branch, shortcut, output);
        MappedAddArguments arguments = new()
        {
            Base = branch.Address,
            Source = shortcut.Address,
            Map = map.Address,
            Output = output.Address,
            Rows = shape.Rows,
            Channels = shape.Channels,
            Pitch = shape.Pitch,
            SourcePitch = Shape.PitchOf(shortcutChannels),
        };
        mappedAdd.Launch(type, arguments, Grid(shape, type.OwnedChannels));
    }

    /// <inheritdoc/>
    public void MappedAddBackward(
        in Shape outputShape, DeviceBuffer outputGradient, int shortcutChannels, DeviceBuffer inverseMap, DeviceBuffer shortcutGradient, GradientMode mode)
    {
        ActivationType type = ActivationType.Of("elementwise.MappedAddBackward", outputGradient, shortcutGradient);
        int pitch = Shape.PitchOf(shortcutChannels);
        MappedAddArguments arguments = new()
        {
            Base = mode == GradientMode.Accumulate ? shortcutGradient.Address : 0,
            Source = outputGradient.Address,
            Map = inverseMap.Address,
            Output = shortcutGradient.Address,
            Rows = outputShape.Rows,
            Channels = shortcutChannels,
            Pitch = pitch,
            SourcePitch = outputShape.Pitch,
        };
        mappedAdd.Launch(type, arguments, new RowGrid(outputShape.Rows, pitch, RowsPerThread, type.OwnedChannels).Geometry);
    }

    /// <inheritdoc/>
    public void CopyChannels(
        int rows, int count, int sourceChannels, int sourceOffset, DeviceBuffer source, int destinationChannels, int destinationOffset, DeviceBuffer destination,
        GradientMode mode)
    {
        ActivationType type = ActivationType.Of("elementwise.CopyChannels", source, destination);
        CopyChannelsArguments arguments = new()
        {
            Source = source.Address + sourceOffset * type.Element.Size(),
            Destination = destination.Address + destinationOffset * type.Element.Size(),
            Rows = rows,
            Count = count,
            SourcePitch = Shape.PitchOf(sourceChannels),
            DestinationPitch = Shape.PitchOf(destinationChannels),
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        copyChannels.Launch(type, arguments, ElementGrid(rows, count));
    }

    /// <inheritdoc/>
    public void Reshape(in Shape inputShape, DeviceBuffer input, in Shape outputShape, DeviceBuffer output, GradientMode mode)
    {
        ReshapeArguments arguments = new()
        {
            Input = input.Address,
            Output = output.Address,
            Rows = outputShape.Rows,
            Channels = outputShape.Channels,
            Pitch = outputShape.Pitch,
            InputChannels = inputShape.Channels,
            InputPitch = inputShape.Pitch,
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        LaunchGeometry grid = ElementGrid(outputShape.Rows, outputShape.Pitch);
        if (ActivationType.Of("elementwise.Reshape", input) is var type && type == ActivationType.Of("elementwise.Reshape", output))
        {
            reshape.Launch(type, arguments, grid);
        }
        else
        {
            (type.Element == ElementType.BFloat16 ? reshapeWiden : reshapeNarrow).Launch(arguments, grid);
        }
    }

    /// <inheritdoc/>
    public void Permute(in Shape inputShape, ReadOnlySpan<int> order, DeviceBuffer input, DeviceBuffer output)
    {
        ActivationType type = ActivationType.Of("elementwise.Permute", input, output);
        int rank = inputShape.Rank;
        PermuteArguments arguments = new() { Input = input.Address, Output = output.Address, ChannelStride = 1, Channels = 1, Rows = 1 };
        for (int i = 0; i < OuterDimensions; i++)
        {
            arguments.Extents[i] = 1;
        }

        for (int i = 0; i < rank; i++)
        {
            long stride = 1;
            for (int d = rank - 1; d > order[i]; d--)
            {
                stride *= d == rank - 1 ? inputShape.Pitch : inputShape[d];
            }

            if (i == rank - 1)
            {
                arguments.ChannelStride = stride;
                arguments.Channels = inputShape[order[i]];
            }
            else
            {
                arguments.Strides[rank - 2 - i] = stride;
                arguments.Extents[rank - 2 - i] = inputShape[order[i]];
                arguments.Rows *= inputShape[order[i]];
            }
        }

        arguments.Pitch = Shape.PitchOf(arguments.Channels);
        permute.Launch(type, arguments, ElementGrid(arguments.Rows, arguments.Pitch));
    }

    private static LaunchGeometry Grid(in Shape shape, int ownedChannels) => new RowGrid(shape.Rows, shape.Pitch, RowsPerThread, ownedChannels).Geometry;

    // One element a thread and step, as rearrangement.cu walks.
    private static LaunchGeometry ElementGrid(int rows, int channels)
    {
        int threadsX = (int)Math.Min(BitOperations.RoundUpToPowerOf2((uint)channels), 256);
        int threadsY = 256 / threadsX;
        return new LaunchGeometry((uint)((channels + threadsX - 1) / threadsX), (uint)Math.Min((rows + threadsY - 1) / threadsY, 4096), 1, (uint)threadsX, (uint)threadsY);
    }

    private static Operand OperandOf(in Shape shape, DeviceBuffer data, in Shape output)
    {
        Operand operand = new()
        {
            Data = data.Address,
            Pitch = shape.Pitch,
            RepeatsChannel = shape.Channels == 1 && output.Channels > 1 ? 1 : 0,
            SameRows = shape.Rows == output.Rows ? 1 : 0,
        };
        int stride = 1;
        for (int d = 2; d <= shape.Rank; d++)
        {
            operand.Strides[d - 2] = shape[-d] == 1 ? 0 : stride;
            stride *= shape[-d];
        }

        return operand;
    }
}
