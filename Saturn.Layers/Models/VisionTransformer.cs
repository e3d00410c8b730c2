using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers.Models;

/// <summary>
/// A small vision transformer (Dosovitskiy et al., "An Image Is Worth 16×16 Words", 2021) under timm's parameter names: patches through a strided convolution, learned position embeddings, blocks with the
/// normalization in front, a last normalization, the mean over the tokens instead of a class token, and a linear classifier. The hidden units of the blocks' perceptrons can be removed, embedding channels
/// and attention heads cannot.
/// </summary>
public sealed class VisionTransformer : Model
{
    private const int HiddenOfWidth = 4;
    private const int UsualHeadWidth = 32;

    private readonly Convolution2d patches;
    private readonly Parameter positions;
    private readonly List<TransformerBlock> blocks = [];
    private readonly LayerNorm norm;
    private readonly Linear classifier;
    private readonly int tokens;

    /// <summary>Creates the network.</summary>
    /// <exception cref="ArgumentException">Patches do not tile the image, or heads do not divide the width.</exception>
    public VisionTransformer(Device device, ModelRecipe recipe, ChannelPlan plan)
        : base(device, recipe)
    {
        if (recipe.Patch < 1 || recipe.InputHeight % recipe.Patch != 0 || recipe.InputWidth % recipe.Patch != 0)
        {
            throw new ArgumentException($"Patches of {recipe.Patch} pixels do not tile an image of {recipe.InputHeight}×{recipe.InputWidth}; choose a divisor of both sides.");
        }

        int heads = recipe.Heads > 0 ? recipe.Heads : Math.Max(1, recipe.Width / UsualHeadWidth);
        if (recipe.Depth < 1 || recipe.Width % heads != 0 || recipe.Width / heads > AttentionShape.MaximumHeadWidth)
        {
            throw new ArgumentException(
                $"A ViT needs at least one block and heads that divide its width into at most {AttentionShape.MaximumHeadWidth} channels each, but has {recipe.Depth} blocks and {heads} heads of {recipe.Width} channels.");
        }

        Activation activation = recipe.ActivationFunction();
        tokens = recipe.InputHeight / recipe.Patch * (recipe.InputWidth / recipe.Patch);
        patches = Register("patch_embed.proj", new Convolution2d(device, recipe.InputChannels, recipe.Width, recipe.Patch, ConvolutionSettings.Square(recipe.Patch), bias: true));
        positions = Register(new Parameter("pos_embed", ParameterRole.Embedding, Tensor.AllocateUnscoped(device, new Shape(tokens, recipe.Width))));
        for (int i = 0; i < recipe.Depth; i++)
        {
            blocks.Add(Register($"blocks.{i}", new TransformerBlock(device, recipe.Width, heads, plan[$"blocks.{i}.mlp", HiddenOfWidth * recipe.Width], activation)));
        }

        norm = Register("norm", new LayerNorm(device, recipe.Width));
        classifier = Register("head", new Linear(device, recipe.Width, recipe.Classes));
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input)
    {
        Tensor x = patches.Forward(input);
        x = Operation.Add(Operation.Reshape(x, new Shape(input.Shape[0], tokens, Recipe.Width)), positions.Value);
        foreach (TransformerBlock block in blocks)
        {
            x = block.Forward(x);
        }

        return classifier.Forward(Operation.GlobalAveragePool(Operation.Reshape(norm.Forward(x), new Shape(input.Shape[0], tokens, 1, Recipe.Width))));
    }
}

/// <summary>x ← x + proj(attention(norm1(x))), x ← x + fc2(f(fc1(norm2(x)))).</summary>
internal sealed class TransformerBlock : Module
{
    private readonly int heads;
    private readonly LayerNorm norm1;
    private readonly Linear packed;
    private readonly Linear projection;
    private readonly LayerNorm norm2;
    private readonly Linear expansion;
    private readonly ActivationLayer activation;
    private readonly Linear contraction;

    public TransformerBlock(Device device, int width, int heads, int hidden, Activation activation)
        : base(device)
    {
        this.heads = heads;
        norm1 = Register("norm1", new LayerNorm(device, width));
        packed = Register("attn.qkv", new Linear(device, width, 3 * width));
        projection = Register("attn.proj", new Linear(device, width, width));
        norm2 = Register("norm2", new LayerNorm(device, width));
        expansion = Register("mlp.fc1", new Linear(device, width, hidden));
        this.activation = Register("mlp", new ActivationLayer(device, hidden, activation));
        contraction = Register("mlp.fc2", new Linear(device, hidden, width));
    }

    /// <inheritdoc/>
    public override Tensor Forward(Tensor input)
    {
        Tensor attended = projection.Forward(Operation.Attention(packed.Forward(norm1.Forward(input)), heads));
        Tensor x = Operation.Add(input, attended);
        return Operation.Add(x, contraction.Forward(activation.Forward(expansion.Forward(norm2.Forward(x)))));
    }
}
